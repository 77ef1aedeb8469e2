"""Daemons as containers and as transient units, where this machine has what runs them."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from mgr.agent.deploy.command_line import checked, write_variables
from mgr.agent.deploy.config import DaemonConfig, Resources
from mgr.agent.deploy.containers import Containers, container_name
from mgr.agent.deploy.runtime import FILES, Unit, how_ended
from mgr.agent.deploy.systemd import BOOTED, TransientUnits

IMAGE = os.environ.get("MGR_TEST_IMAGE", "busybox")


def engine():
    """The engine that answers and has the image; why not, otherwise."""
    for name in ("podman", "docker"):
        if shutil.which(name) is None:
            continue
        command = [name, "image", "inspect", IMAGE]
        done = subprocess.run(command, capture_output=True, timeout=20, check=False)
        if done.returncode == 0:
            return name, ""
    return "", f"neither podman nor docker answers here and has the image {IMAGE}"


@pytest.fixture
def folder(tmp_path):
    """A daemon's folder with one file."""
    (tmp_path / FILES).mkdir()
    (tmp_path / FILES / "hello").write_text("from a file")
    return tmp_path


def unit(folder, revision="1", **fields):
    return Unit(f"t{os.getpid()}.h-0", revision, DaemonConfig(service="web", **fields), folder)


@pytest.mark.slow
async def test_a_container_is_started_found_and_removed(folder):
    """By its name; one of another revision is ended."""
    found, why = engine()
    if not found:
        pytest.skip(why)
    runtime = Containers(found)
    daemon = unit(
        folder,
        kind="container",
        image=IMAGE,
        command=("sh", "-c", 'echo "$TOKEN $(cat /run/mgr/hello)"; exec sleep 1000'),
        secrets={"TOKEN": "s3cret"},
        resources=Resources(memory_mb=64),
    )
    try:
        await runtime.start(daemon)
        assert (await runtime.find(daemon, (0, 0))) is not None
        assert "s3cret from a file" in await checked(found, "logs", container_name(daemon.name))
        other = unit(folder, revision="2", kind="container", image=IMAGE)
        assert await runtime.find(other, (0, 0)) is None
        assert await runtime.find(daemon, (0, 0)) is None

        ends = unit(folder, kind="container", image=IMAGE, command=("sh", "-c", "exit 3"))
        assert await (await runtime.start(ends)).wait() == "exited with 3"
    finally:
        await runtime.clean(daemon)


@pytest.mark.slow
async def test_a_transient_unit_is_started_found_and_stopped(folder):
    """It outlives whoever started it."""
    if not BOOTED.is_dir() or os.geteuid():
        pytest.skip("systemd does not run this machine, or this user may not start units")
    runtime = TransientUnits()
    daemon = unit(folder, kind="systemd", command=("/bin/sleep", "1000"))
    try:
        running = await runtime.start(daemon)
        assert (await runtime.find(daemon, (0, 0))) is not None
        await running.stop(1.0)
        assert await runtime.find(daemon, (0, 0)) is None
    finally:
        await runtime.clean(daemon)


async def test_without_an_engine_the_reason_is_named(monkeypatch):
    """It is what the operator sees."""
    monkeypatch.setattr(shutil, "which", lambda _: None)

    with pytest.raises(RuntimeError, match="neither podman nor docker"):
        Containers().engine()


async def test_a_command_that_fails_is_named_with_its_last_line():
    """And one that takes too long."""
    with pytest.raises(RuntimeError, match="sh: no such thing"):
        await checked("sh", "-c", "echo first; echo no such thing; exit 1")
    with pytest.raises(RuntimeError, match="longer than"):
        await checked("sleep", "60", limit_s=0.1)


def test_variables_are_in_a_file_of_the_user(tmp_path):
    """Quoted for systemd, which takes several lines; a value that would get lost is refused."""
    path = write_variables(tmp_path, {"A": 'x "y" \\', "B": "1\n\t2"}, quoted=True)

    assert path.read_text() == 'A="x \\"y\\" \\\\"\nB="1\n\t2"\n'
    assert path.stat().st_mode & 0o077 == 0
    with pytest.raises(RuntimeError, match="variable A: a control character"):
        write_variables(tmp_path, {"A": "x\ry"}, quoted=True)
    with pytest.raises(RuntimeError, match="variable A: more than one line"):
        write_variables(tmp_path, {"A": "x\ny"}, quoted=False)


def test_ends_are_in_words():
    """A status, or the name of a signal; some signals have none."""
    ends = [how_ended(code) for code in (0, 3, -9, -40)]

    assert ends == ["exited with 0", "exited with 3", "killed by SIGKILL", "killed by signal 40"]

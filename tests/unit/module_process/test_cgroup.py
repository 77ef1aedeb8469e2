"""Groups of cgroup v2: files of a folder that stands for one, and the kernel's where it lets us."""

import os
import signal
from pathlib import Path

import pytest

from mgr.config.module_limits import ModuleLimits
from mgr.module_process.cgroup import DELEGATED, ROOT, GroupEvents, ModuleGroup, find_groups

UNIFIED = (ROOT, ROOT / "unified")


@pytest.fixture
def folder(tmp_path):
    """A folder that has the files of a group."""
    return made(tmp_path / "mgrd.service")


def made(folder, *, processes=""):
    """Make what the kernel would make in a new group."""
    folder.mkdir()
    (folder / "cgroup.controllers").write_text("cpuset cpu memory pids\n")
    (folder / "cgroup.subtree_control").write_text("cpu memory pids\n")
    (folder / "cgroup.procs").write_text(processes)
    return folder


def test_limits_are_written_where_the_kernel_reads_them(folder):
    """Without a limit the kernel's word for none."""
    group = find_groups(str(folder)).make("hello", 7)
    place = folder / "mgr-module-hello-7"

    group.set_limits(ModuleLimits(memory_bytes=300 << 20, processes=40, cpu_weight=20))

    def read():
        names = ("cgroup.procs", "memory.max", "memory.swap.max", "pids.max", "cpu.weight")
        return [(place / name).read_text() for name in names]

    assert read() == ["7", str(300 << 20), "0", "40", "20"]
    group.set_limits(ModuleLimits())
    assert read() == ["7", "max", "0", "max", "100"]


def test_what_the_kernel_enforced_is_counted(folder):
    """From the files of events; a file that is not there counts nothing."""
    group = ModuleGroup(folder, frozenset({"memory", "pids"}))

    assert group.events() == GroupEvents(0, 0)
    (folder / "memory.events").write_text("low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\n")
    (folder / "pids.events").write_text("max 5\n")
    assert group.events() == GroupEvents(2, 5)


def test_a_delegated_group_gets_room_for_those_of_modules(tmp_path):
    """The processes of the service move into a group below it."""
    service = made(tmp_path / "mgrd.service", processes="11\n12\n")
    below = service / "manager"
    below.mkdir()
    (below / "cgroup.procs").write_text("")
    try:
        os.setxattr(service, DELEGATED, b"1")
    except OSError as error:
        pytest.skip(f"this file system has no extended attributes: {error}")

    for own in (service, below):
        assert find_groups("", own).controllers == {"cpu", "memory", "pids"}
    assert (below / "cgroup.procs").read_text() == "12"


def test_a_group_that_nobody_delegated_is_left_alone(tmp_path):
    """It may be a login session, or the whole container."""
    own = made(tmp_path / "session", processes="11\n")

    assert find_groups("", own) is None
    assert not (own / "manager").exists()


def test_a_folder_that_is_none_is_named_in_the_log(tmp_path, caplog):
    """Limits are enforced in other ways then."""
    assert find_groups(str(tmp_path / "absent")) is None
    assert "limits are enforced in other ways" in caplog.text


def test_a_process_moves_into_its_group_on_this_kernel():
    """With whatever controllers it has: the files are the kernel's."""
    root = next((each for each in UNIFIED if (each / "cgroup.controllers").exists()), None)
    if root is None or not os.access(root, os.W_OK):
        pytest.skip("this process may not make groups of cgroup v2")
    pid = os.fork()
    if not pid:
        signal.pause()
        os._exit(0)
    folder = root / f"mgr-test-{pid}"
    try:
        folder.mkdir()
        group = ModuleGroup(folder, frozenset())
        group.add(pid)
        assert folder.name in Path(f"/proc/{pid}/cgroup").read_text()
    except OSError as error:
        pytest.skip(f"this process may not make groups of cgroup v2: {error}")
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        if folder.exists():
            ModuleGroup(folder, frozenset()).remove()
    assert not folder.exists()

"""Libraries of a module's own: real installers, wheels made here, no network."""

import asyncio
import base64
import hashlib
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from mgr.errors import InvalidArgumentError
from mgr.host import module_environment
from mgr.host.finder import ModuleLocation
from mgr.host.module_environment import Environments, EnvironmentState, installer
from mgr.module_process.declarations import Declarations
from mgr.module_process.processes import ModuleProcesses
from mgr.module_process.start import spawn_zygote
from tests.unit.module_process.conftest import ORDER

MODULE = """
    import colour
    from mgr_module import MgrModule, Option

    class Module(MgrModule):
        MODULE_OPTIONS = [Option("seen", default=colour.VERSION)]
        EFFECTS = "none"
"""
pytestmark = pytest.mark.timeout(300)


def wheel(folder, name, version, code=None):
    """Make a wheel with one file, as any installer takes it; its digest."""
    folder.mkdir(exist_ok=True)
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": code or f"VERSION = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    records = [f"{path},sha256={digest(text)},{len(text)}" for path, text in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*records, f"{info}/RECORD,,", ""])
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as made:
        for inner, text in files.items():
            made.writestr(inner, text)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def digest(text):
    """As a wheel's record has it."""
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")


@pytest.fixture
def wheels(tmp_path):
    """A folder that stands for an index: two versions of one library."""
    place = tmp_path / "wheels"
    return place, {version: wheel(place, "colour", version) for version in ("1.0", "2.0")}


@pytest.fixture
def environments(tmp_path):
    """Where they are made."""
    return Environments(tmp_path / "env")


@pytest.fixture
def module(folder, wheels):
    """Write a module that requires a version; its place."""

    def write(name, *lines):
        place = folder(name, MODULE) / "module.py"
        index = ["--no-index", f"--find-links {wheels[0]}"]
        (place.parent / "requirements.txt").write_text("\n".join([*index, *lines, ""]))
        return str(place)

    return write


def environ(pid):
    """The environment that a process began with."""
    return Path(f"/proc/{pid}/environ").read_text()


async def test_two_modules_with_contradicting_versions_run_side_by_side(module, environments):
    """Each finds its own version first, also when it is started again."""
    places = {name: module(name, f"colour=={v}") for name, v in (("m1", "1.0"), ("m2", "2.0"))}
    for name, place in places.items():
        assert environments.state(name, place) is EnvironmentState.MISSING
        await asyncio.to_thread(environments.sync, name, place)
        assert environments.state(name, place) is EnvironmentState.CURRENT

    async with asyncio.TaskGroup() as tasks:
        processes = ModuleProcesses(tasks, spawn_zygote, None, environments)
        declarations = Declarations(processes, ORDER, limit_s=60)
        try:
            for _ in range(2):
                found = {
                    name: await declarations.read(ModuleLocation(name, name, place))
                    for name, place in places.items()
                }
                assert {name: each.error for name, each in found.items()} == {"m1": "", "m2": ""}
                versions = [each.options[0]["default"] for each in found.values()]
                assert versions == ["1.0", "2.0"]
            kept = await processes.start("m1", place=places["m1"])
            assert f"PYTHONPATH={environments.path('m1', places['m1'])}" in environ(kept.pid)
        finally:
            processes.close()


def test_hashes_are_demanded_once_one_is_there(module, environments, wheels):
    """A package that is not the one that was meant is not installed; what was there stays."""
    good = module("m", f"colour==1.0 --hash=sha256:{wheels[1]['1.0']}")
    environments.sync("m", good)
    before = environments.path("m", good)
    bad = module("m", f"colour==2.0 --hash=sha256:{wheels[1]['1.0']}")

    with pytest.raises(InvalidArgumentError, match=r"(?i)hash"):
        environments.sync("m", bad)

    assert environments.path("m", bad) == before
    assert environments.state("m", bad) is EnvironmentState.OUTDATED


def test_requirements_that_break_the_interface_are_refused(module, environments, wheels):
    """A module may not take from its own process what the manager's interface needs."""
    wheel(wheels[0], "msgspec", "99.0", "raise ImportError('not this one')\n")
    place = module("m", "msgspec==99.0")

    with pytest.raises(InvalidArgumentError, match=r"interface does not work beside.*not this one"):
        environments.sync("m", place)

    assert environments.state("m", place) is EnvironmentState.MISSING
    assert list((environments.folder / "m").iterdir()) == []


def test_a_new_environment_replaces_the_one_before_the_last(module, environments):
    """A process may still import from the last one."""
    lines = ("colour==1.0", "colour==2.0", "colour>=1.0")
    digests = [environments.sync("m", module("m", line)) for line in lines]

    left = {each.name for each in (environments.folder / "m").iterdir()}
    assert left == {*digests[1:], "current"}


def test_what_is_missing_is_named(module, environments, monkeypatch, tmp_path):
    """Requirements, a place, an installer."""
    place = module("m", "colour==1.0")
    with pytest.raises(InvalidArgumentError, match=r"has no requirements\.txt"):
        environments.sync("n", str(tmp_path / "n/module.py"))
    with pytest.raises(InvalidArgumentError, match="set state_dir, or module_env_dir"):
        Environments(None).sync("m", place)
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(InvalidArgumentError, match="neither uv nor pip"):
        environments.sync("m", place)


async def test_a_sync_that_is_repeated_waits_for_the_first_one(module, environments, monkeypatch):
    """It would remove what the first one is installing; and then it finds everything made."""
    place, installing, pause = module("m", "colour==1.0"), [], threading.Event()
    most = []

    def install(command, _folder, _limit_s, **_more):
        installing.append(command)
        most.append(len(installing))
        pause.wait(0.3)
        if "--target" in command:
            Path(command[command.index("--target") + 1]).mkdir()
        installing.pop()

    monkeypatch.setattr(module_environment, "_run", install)
    async with asyncio.TaskGroup() as tasks:
        syncs = [
            tasks.create_task(asyncio.to_thread(environments.sync, "m", place)) for _ in range(3)
        ]

    assert len({each.result() for each in syncs}) == 1
    assert most == [1, 1]  # installed, and tried
    assert environments.state("m", place) is EnvironmentState.CURRENT


def test_uv_is_preferred_and_demands_hashes_where_there_are_some(tmp_path, monkeypatch):
    """It installs for this Python."""
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    (tmp_path / "requirements.txt").write_text("a==1 --hash=sha256:0\n")

    assert installer(tmp_path / "requirements.txt") == [
        *("/usr/bin/uv", "pip", "install", "--quiet", "--python", sys.executable),
        "--require-hashes",
    ]


def test_the_command_line_makes_and_lists_them(module, tmp_path, folder):
    """``mgrd module-env sync`` and ``ls``, by the settings of mgrd."""
    module("m", "colour==1.0")
    command = [sys.executable, "-P", "-c", "from mgr.mgrd import main; main()", "module-env"]
    settings = ["--module-path", folder.path, "--module-env-dir", str(tmp_path / "env")]

    def run(*words):
        return subprocess.run(
            [*command, *words, *settings],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )

    assert run("ls").stdout == "m: not made\n"
    made = run("sync")
    assert (made.returncode, made.stdout[:3]) == (0, "m: "), made
    assert run("ls").stdout == "m: current\n"
    assert "there is no module 'x'" in run("sync", "x").stderr

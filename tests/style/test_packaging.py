"""What is installed: our names, nobody else's, and programs that start."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import venv
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.support.tree import COMMITTED, name_of

ROOT = Path(__file__).parents[2]
OURS = (
    "mgr", "standby", "modules", "mgr_module", "object_format", "mgr_util", "ceph_argparse",
    "cherrypy_mgr",
)  # fmt: skip
THIS = Path(__file__)
PROGRAMS = ("mgrd", "mgrctl", "mgr-demo", "mgr-agent")


@pytest.mark.parametrize("name", OURS)
def test_no_other_distribution_owns_one_of_our_names(name):
    """The names are general (docs/adr/0010): a stranger with one of them would be imported."""
    owners = set(packages_distributions().get(name, []))

    assert owners <= {"mgrd"}


def test_every_text_that_says_what_to_install_names_our_distribution():
    """`mgr` on the public index is a stranger's: ``pip install 'mgr[fast]'`` would fetch that."""
    ours = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = [
        (name_of(path), *found)
        for path in COMMITTED
        if path.suffix in {".py", ".md", ".toml", ".service", ".yaml"} and path != THIS
        for found in re.findall(r"pip install '([\w.-]+)\[([\w,-]+)\]", path.read_text())
    ]

    assert {name for _, name, _ in named} == {ours["name"]} == {"mgrd"}
    extras = {extra for *_, listed in named for extra in listed.split(",")}
    assert extras <= ours["optional-dependencies"].keys()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The product as it would be published."""
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder), cwd=ROOT)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """An environment with the wheel, away from the checkout; what it needs is borrowed from ours.

    Only the wheel is installed: this is about our files, and the lock says the rest.
    """
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    python = folder / "bin/python"
    run(str(python), "-m", "pip", "install", "-q", "--no-deps", "--no-index", str(wheel))
    ours = Path(pytest.__file__).parents[1]
    (theirs,) = folder.glob("lib/python*/site-packages")
    # Nobody who installs the product gets the type stubs of our own extra ``dev``.
    skipped = re.compile(r"_?mgrd?\.pth|mgrd?-.*|__pycache__|pip|bin|.*-stubs")
    for entry in ours.iterdir():
        target = theirs / entry.name
        if not skipped.fullmatch(entry.name) and not target.exists():
            target.symlink_to(entry)
    return folder


def run(*command, cwd=None):
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "MGR_"))}
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("program", PROGRAMS)
def test_an_installed_program_starts_outside_the_checkout(installed, program, tmp_path):
    """``--help`` prints its usage and imports nothing from the working directory."""
    (tmp_path / "mgr.py").write_text("raise SystemExit('imported by accident')\n")

    assert "Usage" in run(str(installed / "bin" / program), "--help", cwd=tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", OURS)
def test_an_installed_name_is_found_outside_the_checkout(installed, name, tmp_path):
    """From the wheel, not from a tree that happens to lie near."""
    command = [str(installed / "bin/python"), "-P", "-c", f"import {name}; print({name}.__file__)"]

    assert run(*command, cwd=tmp_path).startswith(str(installed))


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_whoever_installs_it_has_the_fixture_for_modules(installed, tmp_path):
    """Beside a module of their own, with nothing configured and nothing imported for it."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/__init__.py").write_text("from .module import Module\n")
    (tmp_path / "mine/module.py").write_text(
        "from mgr_module import CLIReadCommand, MgrModule\n\n"
        "class Module(MgrModule):\n"
        "    @CLIReadCommand('mine ask')\n"
        "    def ask(self):\n"
        "        return 0, self.get_mgr_id(), ''\n"
    )
    (tmp_path / "test_mine.py").write_text(
        "from pathlib import Path\n\n"
        "def test_it(mgr_host):\n"
        "    mgr_host.load(Path(__file__).parent / 'mine')\n"
        "    assert mgr_host.run('mine ask') == (0, 'a', '')\n"
    )
    python = str(installed / "bin/python")

    assert "1 passed" in run(python, "-P", "-m", "pytest", "-q", "test_mine.py", cwd=tmp_path)


RIGHT = '''
from mgr.client import AsyncClient, AsyncDaemon, Client, Daemon, Device, Tls
from mgr_module import CLIReadCommand, HandleCommandResult, MgrModule, Option


def ask(hosts: list[str], tls: Tls | None = None) -> str:
    with Client(hosts, timeout_s=5.0, tls=tls) as client:
        reveal_type(client)
        reveal_type(client.execute(["status"]))
        reveal_type(client.maps.get("mine"))
        return client.execute(["status"]).text


async def ask_in_a_loop() -> int:
    async with AsyncClient("127.0.0.1:7400") as client:
        reveal_type(client)
        return (await client.execute(["status"])).retval


def join(kind: type[Daemon] | type[AsyncDaemon], disk: Device) -> None:
    with Daemon("web", "eu-1", hosts=["127.0.0.1:7400"], metadata={"cores": 4}) as daemon:
        reveal_type(daemon)
        requests = daemon.counter("requests")
        reveal_type(requests)

        @daemon.command("cache drop name=what,type=CephString", "Forget what is cached")
        def drop(what: str) -> tuple[int, str, str]:
            return 0, f"dropped {what}", ""

        reveal_type(drop)
        requests.inc()
        daemon.status["state"] = "ok"


class Module(MgrModule):
    MODULE_OPTIONS = [Option("place", type="str", default="here")]

    @CLIReadCommand("where")
    def where(self) -> HandleCommandResult:
        """Say where it is"""
        reveal_type(self.get_store("place"))
        return HandleCommandResult(stdout=f"It is {self.get_module_option('place')}.")

    def serve(self) -> None:
        reveal_type(self.where())
'''
REVEALED = [
    "mgr.client.blocking.Client",
    "mgr.client.messages.Answer",
    "mgr.client.maps.Map | None",
    "mgr.client.async_client.AsyncClient",
    "mgr.client.daemon.daemon.Daemon",
    "mgr.client.daemon.counters.Counter",
    "def (what: str) -> tuple[int, str, str]",
    "str | None",
    "tuple[int, str, str, fallback=mgr.module_api.result.HandleCommandResult]",
]
WRONG = """
from mgr.client import Client, Clinet, Daemon
from mgr_module import HandleCommandResult, MgrModul, MgrModule

Client(5)
Client("a:7400").execute(["status"], timeout_s="soon")
Daemon("web", 7, "a:7400")


class Module(MgrModule):
    def serve(self) -> None:
        self.get_store(5)

    def where(self) -> HandleCommandResult:
        return HandleCommandResult(stdout=5)
"""
MISTAKES = ["2 attr-defined", "3 attr-defined", *(f"{n} arg-type" for n in (5, 6, 7, 12, 15))]


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", OURS)
def test_every_package_of_ours_says_that_it_is_typed(installed, name):
    """Without ``py.typed``, a type checker takes all that comes from it for ``Any``."""
    (site,) = installed.glob("lib/python*/site-packages")

    assert (site / name / "py.typed").is_file()


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_users_program_is_type_checked_against_the_installed_wheel(installed, tmp_path):
    """Right use passes, and no type that a user meets is lost on the way."""
    status, said = type_checked(installed, tmp_path, RIGHT)

    assert re.findall(r'Revealed type is "(.*)"', said) == REVEALED
    assert status == 0, said


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_users_mistake_is_found_by_the_type_checker(installed, tmp_path):
    """A misspelt name and an argument of a wrong type, of the client's and of a module's."""
    _, said = type_checked(installed, tmp_path, WRONG)

    assert re.findall(r"program\.py:(.*): error: .*\[(.*)\]", said) == [
        tuple(mistake.split()) for mistake in MISTAKES
    ], said


def type_checked(environment, folder, program):
    """What ``mypy --strict`` says of ``program``, with the environment's packages and no other."""
    (folder / "program.py").write_text(program)
    command = [
        sys.executable, "-P", "-m", "mypy", "--strict", "--config-file=", "--no-color-output",
        "--python-executable", str(environment / "bin/python"), "program.py",
    ]  # fmt: skip
    outside = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "MYPY", "MGR_"))}
    done = subprocess.run(
        command, cwd=folder, env=outside, capture_output=True, text=True, timeout=150, check=False
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_wheel_holds_cephs_names_once(wheel):
    """At the top, and no second copy under ``mgr``: two copies would be two classes."""
    names = run(sys.executable, "-m", "zipfile", "-l", str(wheel)).splitlines()
    found = [line.split()[0] for line in names if "mgr_module/__init__.py" in line]

    assert found == ["mgr_module/__init__.py"]


def test_the_lock_names_every_direct_dependency():
    """``make`` installs what is written in constraints.txt; ``make lock`` writes it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    locked = {
        line.partition("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines()
    }

    wanted = {normalised(need) for group in groups for need in group}
    assert wanted <= locked


def normalised(need):
    return re.split(r"[<>=]", need)[0].strip().lower().replace("_", "-")

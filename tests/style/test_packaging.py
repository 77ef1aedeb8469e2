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

ROOT = Path(__file__).parents[2]
OURS = (
    "mgr", "standby", "modules", "mgr_module", "object_format", "mgr_util", "ceph_argparse",
    "cherrypy_mgr",
)  # fmt: skip
PROGRAMS = ("mgrd", "mgrctl", "mgr-demo", "mgr-agent")


@pytest.mark.parametrize("name", OURS)
def test_no_other_distribution_owns_one_of_our_names(name):
    """The names are general (docs/adr/0010): a stranger with one of them would be imported."""
    owners = set(packages_distributions().get(name, []))

    assert owners <= {"mgr"}


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
    skipped = {"mgr.pth", "_mgr.pth", "__pycache__", "pip", "bin"}
    for entry in ours.iterdir():
        target = theirs / entry.name
        if entry.name not in skipped and not entry.name.startswith("mgr-") and not target.exists():
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


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_wheel_holds_cephs_names_once(wheel):
    """At the top, and no second copy under ``mgr``: two copies would be two classes."""
    names = run(sys.executable, "-m", "zipfile", "-l", str(wheel)).splitlines()
    found = [line.split()[0] for line in names if "mgr_module.py" in line]

    assert found == ["mgr_module.py"]


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

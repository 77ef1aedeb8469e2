"""The deb and the rpm, built, installed, run, upgraded and removed in a container of Debian."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mgr.clock import CLOCK
from tests.e2e.compose import images
from tests.e2e.compose.shell import UnavailableError, say
from tests.support import process
from tests.support.cluster import wait_for
from tests.support.tree import ROOT

IMAGE = "mgr-test-debian"
NAME = f"mgr-test-packages-{os.getpid()}"
KILL = "for p in $(stat -c '%U %n' /proc/[0-9]* | sed -n 's|^mgr /proc/||p'); do kill $p; done"
"""End every process of the user mgr, in the container: a minimal Debian has no pkill."""
PROGRAMS = ("mgrd", "mgrctl", "mgr-agent")
FILES = (
    "/usr/lib/systemd/system/mgrd.service",
    "/usr/lib/systemd/system/mgr-agent.service",
    "/usr/lib/sysusers.d/mgr.conf",
    "/usr/share/bash-completion/completions/mgrctl",
    "/usr/share/fish/vendor_completions.d/mgrctl.fish",
    "/usr/share/doc/mgrd/LICENSE",
    "/usr/share/man/man1/mgrd.1.gz",
    "/usr/share/man/man1/mgrctl-doctor.1.gz",
    "/usr/share/mgrd/alerts.yaml",
    "/etc/mgr/agent.toml",
    "/etc/mgr/mgr.toml",
)

ZSH_DEB = "/usr/share/zsh/vendor-completions/_mgrctl"
ZSH_RPM = "/usr/share/zsh/site-functions/_mgrctl"


@pytest.fixture(scope="module")
def packages(tmp_path_factory, unavailable):
    """What ``make packages`` leaves, by the ending of the file; or what ``MGR_PACKAGES`` has."""
    if given := os.environ.get("MGR_PACKAGES"):
        return {file.suffix: file for file in Path(given).iterdir()}
    folder = tmp_path_factory.mktemp("packages")
    say("building deb and rpm")
    begun_s = CLOCK.now()
    done = subprocess.run(
        [ROOT / "deploy/packages/build", folder],
        env={**os.environ, "PYTHON": sys.executable},
        capture_output=True, text=True, timeout=560, check=False,
    )  # fmt: skip
    if done.returncode and "No matching distribution" in done.stderr:
        unavailable(f"PACKAGES NOT BUILT: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stdout + done.stderr
    say(f"built in {CLOCK.now() - begun_s:.0f} s")
    return {file.suffix: file for file in folder.iterdir()}


class Machine:
    """A container of Debian in this machine's network, so that etcd on loopback is in reach."""

    def __init__(self, engine, folder):
        self._engine = engine
        engine.docker(
            *("run", "-d", "--name", NAME, "--network", "host", "--init"),
            *("-v", f"{folder}:/packages:ro", IMAGE, "sleep", "infinity"),
        )

    def run(self, *words, check=True, user="root", limit_s=120):
        """Run a command; what it printed."""
        command = ("exec", "-u", user, NAME, *words)
        return self._engine.docker(*command, check=check, limit_s=limit_s)

    def start(self, *words, user):
        """Run a command in the background, its output into /tmp/log."""
        line = f"exec {' '.join(words)} >/tmp/log 2>&1"
        self._engine.docker("exec", "-d", "-u", user, NAME, "sh", "-c", line)

    def exists(self, path):
        """Whether there is such a file."""
        return self.run("sh", "-c", f"test -e {path} && echo yes || true").strip() == "yes"


@pytest.fixture(scope="module")
def machine(engine, packages, unavailable):
    """One container for all tests of this file, in their order."""
    folder = packages[".deb"].parent
    folder.chmod(0o755)
    try:
        engine.docker("import", images.debian_root(), IMAGE, limit_s=120)
    except UnavailableError as error:
        unavailable(error)
    try:
        yield Machine(engine, folder)
    finally:
        engine.docker("rm", "-f", NAME, check=False)
        engine.docker("image", "rm", IMAGE, check=False)


def test_the_deb_installs_programs_units_users_and_pages(machine, packages):
    """With nothing but Debian's own Python; nothing is enabled, nothing runs."""
    about = machine.run("dpkg-deb", "-I", f"/packages/{packages['.deb'].name}")
    assert re.search(r"Depends: python3\.\d+\n", about)

    # Roots of containers leave documentation out, by dpkg's own settings.
    pages = ("--path-include=/usr/share/doc/*", "--path-include=/usr/share/man/*")
    machine.run("dpkg", *pages, "-i", f"/packages/{packages['.deb'].name}")

    for program in PROGRAMS:
        assert machine.run(program, "--help").startswith(("Usage", "usage"))
    assert machine.run("mgrd", "--version") == f"mgrd {version()}\n"
    assert [file for file in (*FILES, ZSH_DEB) if not machine.exists(file)] == []
    assert machine.run("id", "-un", "mgr") == "mgr\n"
    assert machine.run("id", "-un", "mgr-agent") == "mgr-agent\n"
    machine.run("bash", "-n", "/usr/share/bash-completion/completions/mgrctl")
    assert machine.run("sh", "-c", "cat /opt/mgr/bin/mgrd | head -1") == "#!/opt/mgr/bin/python\n"
    # Traces work without installing anything more, uvloop is there.
    machine.run("/opt/mgr/bin/python", "-P", "-c", "import mgr.otel, uvloop, psutil")


def test_the_units_name_programs_that_are_there(machine):
    """What systemd would start."""
    for unit in ("mgrd", "mgr-agent"):
        text = machine.run("cat", f"/usr/lib/systemd/system/{unit}.service")
        (program,) = re.findall(r"^ExecStart=(\S+)", text, re.MULTILINE)
        assert machine.exists(program)


def test_it_runs_as_its_user_and_answers(machine, etcd):
    """On a real etcd; ``mgrctl`` finds it, and its bundled modules are there."""
    grpc, http = (f"127.0.0.1:{process.free_port()}" for _ in range(2))
    settings = ("--id", "deb", "--cluster", NAME, "--etcd", etcd.address)
    listens = ("--grpc-listen", grpc, "--http-listen", http)
    machine.start("mgrd", *settings, *listens, user="mgr")
    try:
        wait_for(
            lambda: '"deb"' in machine.run("mgrctl", "-m", grpc, "mgr", "stat", check=False),
            "the manager of the package to lead",
            60,
        )
        listed = machine.run("mgrctl", "-m", grpc, "mgr", "module", "ls")
        assert "dashboard" in listed
        # Its guard and worker run as the user that the package made.
        assert machine.run("sh", "-c", "stat -c %U /proc/[0-9]*/exe | sort | uniq").split() == [
            "mgr", "root",
        ]  # fmt: skip
    finally:
        # Ended with everything that it started, by the container's own init.
        machine.run("sh", "-c", KILL, check=False)


def test_an_upgrade_keeps_what_an_operator_changed(machine, packages):
    """The settings file is a conffile."""
    machine.run("sh", "-c", "echo 'cluster = \"mine\"' >> /etc/mgr/mgr.toml")

    machine.run("dpkg", "-i", "--force-confold", f"/packages/{packages['.deb'].name}")

    assert 'cluster = "mine"' in machine.run("tail", "-1", "/etc/mgr/mgr.toml")
    assert machine.run("mgrd", "--version") == f"mgrd {version()}\n"


def test_removal_keeps_settings_and_purge_takes_all(machine):
    """Users stay: their numbers must not become somebody else's."""
    machine.run("sh", "-c", "mkdir -p /var/lib/mgr && touch /var/lib/mgr/state")

    machine.run("dpkg", "-r", "mgrd")
    assert not machine.exists("/opt/mgr")
    assert not machine.exists("/usr/bin/mgrd")
    assert machine.exists("/etc/mgr/mgr.toml")
    assert machine.exists("/var/lib/mgr/state")

    machine.run("dpkg", "-P", "mgrd")
    assert not machine.exists("/etc/mgr/mgr.toml")
    assert not machine.exists("/var/lib/mgr")
    assert machine.run("id", "-un", "mgr") == "mgr\n"


def test_the_rpm_installs_and_runs_too(machine, packages):
    """By rpm's own program; its database knows no Python of Debian's, so that need is not asked."""
    fetched = machine.run(
        "sh", "-c",
        "apt-get update -qq && apt-get install -y -qq --no-install-recommends rpm; echo $?",
        check=False, limit_s=300,
    )  # fmt: skip
    if fetched.strip().splitlines()[-1:] != ["0"]:
        pytest.skip(f"THE RPM WAS NOT INSTALLED: no rpm in Debian's container: {fetched[-200:]}")
    file = f"/packages/{packages['.rpm'].name}"
    needs = machine.run("rpm", "-qp", "--requires", file)
    assert re.search(r"^python3\.\d+$", needs, re.MULTILINE)
    assert "/etc/mgr/mgr.toml" in machine.run("rpm", "-qp", "--configfiles", file)

    machine.run("rpm", "-i", "--nodeps", file)

    assert machine.run("mgrd", "--version") == f"mgrd {version()}\n"
    assert [file for file in (*FILES, ZSH_RPM) if not machine.exists(file)] == []
    machine.run("rpm", "-V", "--nodeps", "mgrd")
    machine.run("rpm", "-e", "mgrd")
    assert not machine.exists("/usr/bin/mgrd")
    assert not machine.exists("/opt/mgr/bin/python")


def version():
    """The version of this tree."""
    (found,) = re.findall(r'(?m)^version = "(.*)"$', (ROOT / "pyproject.toml").read_text())
    return found

"""A host whose first process is systemd: in namespaces of its own, on this machine's programs.

It sees this machine's files; what it changes in /etc, /var and /run is in memory and gone with it.
Its network is this machine's, so managers on loopback are in reach.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final, Self

from mgr.agent.deploy.settings import FOLDER
from tests.support import process
from tests.support.agents import AGENT, settings_text
from tests.support.cluster import wait_for
from tests.support.tree import ROOT

SYSTEMD: Final = Path("/lib/systemd/systemd")
SHIPPED: Final = ROOT / "deploy/systemd/mgr-agent.service"
UNITS: Final = "/run/units"
GROUPS: Final = Path("/sys/fs/cgroup")
UNUSED: Final = ("cpuset", "unified")
"""Hierarchies that systemd needs no group in: the first has no processors in a new one."""
TARGETS: Final = ("default", "sysinit", "basic", "shutdown")
"""What every unit is ordered after or before."""
COMMAND_S: Final = 60
START_S: Final = 60
BOOT: Final = f"""\
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /run
for folder in etc var; do
    mkdir -p /run/$folder/upper /run/$folder/work
    mount -t overlay -o lowerdir=/$folder,upperdir=/run/$folder/upper,workdir=/run/$folder/work \
        overlay /$folder
done
mkdir {UNITS}
for name in {" ".join(TARGETS)}; do
    printf '[Unit]\\nDescription=%s\\n' $name > {UNITS}/$name.target
done
if [ -e {GROUPS}/cgroup.controllers ]; then
    mount -t cgroup2 cgroup2 {GROUPS}
else
    kinds=$(sed -n 's|^cgroup {GROUPS}/\\([^ ]*\\) cgroup .*|\\1|p' /proc/self/mounts)
    mount -t tmpfs tmpfs {GROUPS}
    for kind in $kinds; do
        mkdir {GROUPS}/$kind
        [ $kind = systemd ] && options=none,name=systemd || options=$kind
        mount -t cgroup -o $options cgroup {GROUPS}/$kind
    done
fi
mount -t proc proc /proc
exec env container=test SYSTEMD_UNIT_PATH={UNITS} SYSTEMD_GENERATOR_PATH=/run/none \
    {SYSTEMD} --system --log-target=console --log-level=notice
"""
"""Run by the first process of the namespaces, which becomes systemd."""
DROP_IN: Final = """\
[Service]
ExecStart=
ExecStart={agent} --config /etc/mgr/agent.toml
StandardOutput=append:{log}
StandardError=append:{log}
# The interpreter of the tests may be in somebody's home.
ProtectHome=no
{of_root}
"""


def unavailable() -> str:
    """Why there can be none here; empty if there can."""
    if os.geteuid():
        return "namespaces and control groups need root"
    if not SYSTEMD.exists():
        return f"no {SYSTEMD} on this machine (Debian: apt-get install systemd)"
    try:
        with _groups("try") as command:
            subprocess.run([*command, "true"], check=True, capture_output=True, timeout=COMMAND_S)
    except (OSError, subprocess.SubprocessError) as error:
        return f"no namespaces or no control groups here: {error}"
    return ""


class SystemdHost:
    """One host with systemd and the unit of the agent that we ship. Use as a context manager."""

    def __init__(
        self, ident: str, managers: Sequence[str], folder: Path, commands: Sequence[str]
    ) -> None:
        """Let the managers run ``commands``; keep logs in ``folder``."""
        self.id = ident
        self.log = folder / f"{ident}.agent.log"
        self._boot_log = folder / f"{ident}.boot.log"
        self._settings = settings_text(
            ident, managers, FOLDER, kinds=("process", "systemd"), commands=commands
        )
        self._parts = contextlib.ExitStack()
        self._outer: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as parts:
            command = parts.enter_context(_groups(self.id))
            boot = [*command, "/bin/sh", "-c", BOOT]
            self._outer = process.start(boot, log=self._boot_log)
            parts.callback(self._kill)
            wait_for(self._booted, "systemd to start", START_S)
            self._install()
            self._parts = parts.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._parts.close()

    @property
    def first(self) -> int:
        """The process that is its number 1."""
        assert self._outer is not None
        return process.children(self._outer.pid)[0]

    @property
    def root(self) -> Path:
        """Its files, as seen from here."""
        return Path(f"/proc/{self.first}/root")

    @property
    def deployed(self) -> Path:
        """The folder of what its agent runs, as seen from here."""
        return self.root / FOLDER.lstrip("/")

    def run(self, *words: str, check: bool = True) -> str:
        """Run a command on it; what it printed.

        Raises:
            AssertionError: It failed, unless not ``check``.

        """
        within = ("nsenter", "-t", str(self.first), "-m", "-p", "-C", "-u", "-i", *words)
        done = subprocess.run(
            within, capture_output=True, text=True, timeout=COMMAND_S, check=False
        )
        assert done.returncode == 0 or not check, (words, done.stdout, done.stderr)
        return done.stdout

    def show(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.run("systemctl", "show", "--value", f"--property={name}", unit).strip()

    def units(self) -> list[str]:
        """The units of what is deployed, failed ones among them."""
        words = ("systemctl", "list-units", "--all", "--plain", "--no-legend", "mgr-*.*-*.service")
        return [line.split()[0] for line in self.run(*words).splitlines()]

    def pids(self) -> dict[int, str]:
        """The processes of its daemons, as numbered here, with their names."""
        return process.marked("MGR_DAEMON", "")

    # -- inside -------------------------------------------------------------------------------

    def _kill(self) -> None:
        """End all of it: the kernel kills what a first process leaves."""
        assert self._outer is not None
        self._outer.kill()
        self._outer.wait(START_S)

    def _booted(self) -> bool:
        assert self._outer is not None
        assert self._outer.poll() is None, self._boot_log.read_text(errors="replace")[-2000:]
        if not process.children(self._outer.pid):
            return False
        return self.run("systemctl", "is-system-running", check=False).strip() == "running"

    def _install(self) -> None:
        """Start the agent as a unit, as the comments in it say for one that deploys."""
        (self.root / "etc/mgr").mkdir(exist_ok=True)
        (self.root / "etc/mgr/agent.toml").write_text(self._settings)
        units = self.root / UNITS.lstrip("/")
        shutil.copy(SHIPPED, units)
        folder = units / f"{SHIPPED.name}.d"
        folder.mkdir()
        text = DROP_IN.format(agent=AGENT, log=self.log, of_root=_of_root())
        (folder / "test.conf").write_text(text)
        self.run("systemctl", "daemon-reload")
        self.run("systemctl", "start", SHIPPED.name)


def _of_root() -> str:
    """The lines that the shipped unit names for an agent that deploys."""
    found = re.search(
        r"^# [^\n]*\[deploy\][^\n]* need root:\n((?:#\S.*\n)+)", SHIPPED.read_text(), re.MULTILINE
    )
    assert found is not None
    return found[1].replace("#", "")


@contextlib.contextmanager
def _groups(name: str) -> Iterator[tuple[str, ...]]:
    """Make control groups for one host; what to put before the command of its first process.

    They are removed at the end, when the host's processes are over.
    """
    roots = [file.parent for file in GROUPS.glob("cgroup.procs")]
    roots = roots or [file.parent for file in GROUPS.glob("*/cgroup.procs")]
    places = [
        root / f"mgr-test-{name}-{os.getpid()}"
        for root in roots
        if root.name not in UNUSED and os.access(root / "cgroup.procs", os.W_OK)
    ]
    joined = " ".join(shlex.quote(f"{place}/cgroup.procs") for place in places)
    script = f'for file in {joined}; do echo $$ > $file; done; exec "$@"'
    spaces = ("--mount", "--pid", "--cgroup", "--ipc", "--uts", "--fork", "--kill-child=KILL")
    try:
        for place in places:
            place.mkdir()
        yield ("/bin/sh", "-c", script, "sh", "unshare", *spaces)
    finally:
        for place in places:
            wait_for(partial(_removed, place), f"{place} to be empty", START_S)


def _removed(place: Path) -> bool:
    """Remove a control group and those below it; whether all are gone."""
    for folder in sorted(place.glob("**/"), key=lambda folder: -len(folder.parts)):
        try:
            folder.rmdir()
        except FileNotFoundError:
            continue
        except OSError:
            return False
    return True

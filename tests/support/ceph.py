"""A small real Ceph for tests: one monitor, one manager of its own, OSDs in memory, one MDS.

Everything stands in one directory and on loopback, as a user's own processes: no systemd, no block
device, nothing installed. The programs are the distribution's packages, unpacked in the cache.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import modules
from tests.support import debian, process
from tests.support.cluster import wait_for

ALL_BUT_CEPH: Final = ",".join(
    sorted(
        each.parent.name
        for each in Path(modules.__file__).parent.glob("*/module.py")
        if each.parent.name != "ceph"
    )
)
"""The setting ``bundled_skip`` for managers with modules of Ceph's packages."""
RELEASE: Final = "16.2"
"""Of the bindings, which are for the Python that managers run on."""
SUITES: Final = {RELEASE: "bookworm", "18.2": "trixie", "20.2": "forky"}
"""Ceph's releases, and the release of Debian that packages each."""
NAMED: Final = (
    *("ceph-mon", "ceph-mgr", "ceph-osd", "ceph-mds", "ceph-base", "ceph-common"),
    *("python3-rados", "python3-cephfs", "python3-rbd", "python3-ceph-argparse"),
    *("python3-ceph-common", "ceph-mgr-modules-core"),
    *("python3-prettytable", "python3-wcwidth", "python3-yaml"),
)
"""The packages that are wanted for themselves."""
BESIDE: Final = {RELEASE: ("python3-pkg-resources",)}
"""Further ones of a release."""
KEYS: Final = {"20.2": ("--key-type", "aes")}
"""How a release makes a key that the bindings of ``RELEASE`` can read, unless all of its are."""
LIBRARIES: Final = ("lib", "python3.")
"""Beginnings of the names of further packages that they need here."""
PYTHON: Final = "/usr/bin/python3"
"""The distribution's, which the bindings and the program ``ceph`` of ``RELEASE`` are for."""
READY_S: Final = 300.0
COMMAND_S: Final = 240
GRACE_S: Final = 300
"""For so long daemons may be silent."""
FILE_SYSTEM: Final = "files"
USER: Final = "client.mgrd"
"""Whom managers act as; it may do everything."""
TRIPLET: Final = f"{platform.machine()}-linux-gnu"
MEMORY: Final = Path("/dev/shm")
DATA: Final = "mgr-test-ceph-"
"""What directories with data are called; then the id of the run's process, then anything."""


class NoCephPackagesError(Exception):
    """The packages cannot be had here; the text says why."""


@dataclass(frozen=True)
class Programs:
    """The unpacked packages of one release.

    Attributes:
        whole: They are those of another release of Debian, down to the C library.

    """

    release: str
    root: Path
    whole: bool = False

    @property
    def libraries(self) -> str:
        """Folders of the shared libraries, as the loader wants them."""
        under = self.plugins
        return f"{under}:{under / 'ceph'}:{self.root / 'lib' / TRIPLET}"

    @property
    def plugins(self) -> Path:
        """The folder of libraries and of what Ceph's daemons load by themselves."""
        return self.root / "usr/lib" / TRIPLET

    @property
    def python_packages(self) -> Path:
        """The folder with Ceph's bindings for Python."""
        return self.root / "usr/lib/python3/dist-packages"

    @property
    def modules(self) -> Path:
        """The folder of ceph-mgr's modules."""
        return self.root / "usr/share/ceph/mgr"

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to find the libraries, added to the present environment."""
        # With its own C library a program begins with that one's loader, and what it starts, if
        # it does, with this machine's. ceph-mgr contains a Python.
        return (
            {"PYTHONHOME": str(self.root / "usr")}
            if self.whole
            else {"LD_LIBRARY_PATH": self.libraries}
        )

    @property
    def python(self) -> list[str]:
        """The command line of the Python for which its own Python programs are."""
        if not self.whole:
            return [PYTHON]
        [name] = (found.name for found in (self.root / "usr/bin").glob("python3.[0-9]*"))
        return self.command(name)

    def command(self, name: str) -> list[str]:
        """Return the beginning of the command line of a program."""
        program = str(self.root / "usr/bin" / name)
        if not self.whole:
            return [program]
        [loader] = self.plugins.glob("ld-linux*.so.*")
        return [str(loader), "--library-path", self.libraries, program]


def fetch_programs(release: str = RELEASE) -> Programs:
    """Return the programs; fetched once.

    Raises:
        NoCephPackagesError: They cannot be had here.

    """
    suite, whole = SUITES[release], release != RELEASE
    home = debian.CACHE / "ceph" / f"{suite}-programs"
    try:
        names = (*NAMED, *BESIDE.get(release, ()))
        root = debian.unpacked_with_needs(suite, names, LIBRARIES, home, whole=whole)
    except (OSError, subprocess.SubprocessError) as error:
        raise NoCephPackagesError(f"Ceph of Debian {suite}: {error}") from error
    return Programs(release, root, whole)


class Ceph:
    """One cluster. Use as a context manager: it is healthy on entry and gone after the exit."""

    def __init__(
        self, directory: Path, programs: Programs, *, osds: int = 1, mdss: Sequence[str] = ("a",)
    ) -> None:
        """Keep logs in ``directory`` and the data in memory.

        There is one file system; the first of ``mdss`` to come has it, the others stand by.
        """
        self.directory = directory
        self.programs = programs
        place = MEMORY if os.access(MEMORY, os.W_OK) else Path("/tmp")
        for left in place.glob(f"{DATA}*"):
            # Of a run that was killed: its daemons died with it, their data did not.
            if process.gone(int(left.name.removeprefix(DATA).partition("-")[0])):
                shutil.rmtree(left, ignore_errors=True)
        # Paths of sockets may have 107 characters, and tests have long names.
        self._home = Path(tempfile.mkdtemp(prefix=f"{DATA}{os.getpid()}-", dir=place))
        self._osds = osds
        self._mdss = tuple(mdss)
        self._fsid = str(uuid.uuid4())
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._ports = [process.free_port(), process.free_port()]

    @property
    def conf(self) -> Path:
        """Its configuration."""
        return self._home / "ceph.conf"

    @property
    def keyring(self) -> Path:
        """The key of ``USER``, by itself: one that its bindings cannot read spoils a file."""
        return self._home / "keyring.user"

    @property
    def fsid(self) -> str:
        """The id of the cluster."""
        return self._fsid

    # -- life -------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        try:
            self._make()
            self._start_all()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End every process and remove the data."""
        for name in reversed(tuple(self._processes)):
            self.kill(name)
        for log in self._home.glob("*.log"):
            shutil.copy(log, self.directory / log.name)
        shutil.rmtree(self._home, ignore_errors=True)

    def kill(self, *names: str) -> None:
        """Kill daemons (SIGKILL): ``mon.a``, ``mgr.x``, ``osd.0``, ``mds.a``."""
        for name in names:
            one = self._processes.pop(name)
            one.send_signal(signal.SIGCONT)
            one.kill()
            one.wait(10)

    def freeze(self, *names: str) -> None:
        """Stop daemons in the middle of whatever they do (SIGSTOP); none named: all."""
        for name in names or tuple(self._processes):
            self._processes[name].send_signal(signal.SIGSTOP)

    def thaw(self, *names: str) -> None:
        """Let them go on."""
        for name in names or tuple(self._processes):
            self._processes[name].send_signal(signal.SIGCONT)

    def start(self, name: str) -> None:
        """Start a daemon over the data it had."""
        kind, _, of = name.partition(".")
        flags = ["--foreground", "--id", of, "--conf", str(self.conf)]
        command = [*self.programs.command(f"ceph-{kind}"), *flags]
        log = self.directory / f"{name}.out"
        self._processes[name] = process.start(
            command, log=log, environment=self.programs.environment
        )

    # -- commands ---------------------------------------------------------------------------------

    def run(self, *words: str, data: str = "") -> str:
        """Run one command of ``ceph`` as the administrator; its output."""
        command = [
            *(*self.programs.python, str(self.programs.root / "usr/bin/ceph")),
            *("--conf", str(self.conf), "--connect-timeout", str(COMMAND_S), *words),
        ]
        return self._run(command, data)

    def read(self, *words: str) -> Any:
        """Run one command and return its output, decoded from JSON."""
        return json.loads(self.run(*words, "--format", "json"))

    def forget_clients(self) -> None:
        """Have file systems forget whom they serve: a killed client is waited for a minute."""
        for name in self._mdss:
            for session in self.read("tell", f"mds.{name}", "session", "ls"):
                self.run("tell", f"mds.{name}", "session", "evict", f"id={session['id']}")

    # -- inside -----------------------------------------------------------------------------------

    def _tool(self, name: str, *words: str) -> None:
        self._run([*self.programs.command(name), *words])

    def _run(self, command: Sequence[str], data: str = "") -> str:
        environment = {
            **os.environ,
            **self.programs.environment,
            "PYTHONPATH": str(self.programs.python_packages),
        }
        done = subprocess.run(
            command, env=environment, input=data, capture_output=True, text=True,
            timeout=COMMAND_S + 10, check=False,
        )  # fmt: skip
        assert done.returncode == 0, (command, done.stdout[-2000:], done.stderr[-2000:])
        return done.stdout

    def _make(self) -> None:
        self.conf.write_text(self._configuration())
        tool = "ceph-authtool"
        keyring, everything = str(self._home / "keyring"), "allow *"
        caps: Mapping[str, Mapping[str, str]] = {
            "mon.": {"mon": everything},
            "client.admin": {"mon": everything, "osd": everything, "mds": everything,
                             "mgr": everything},
            USER: {"mon": everything, "osd": everything, "mds": everything,
                            "mgr": everything},
            "mgr.x": {"mon": "allow profile mgr", "osd": everything, "mds": everything},
            **{
                f"mds.{name}": {
                    "mon": "allow profile mds",
                    "osd": everything,
                    "mds": "allow",
                    "mgr": "allow profile mds",
                }
                for name in self._mdss
            },
            **{
                f"osd.{n}": {"mon": "allow profile osd", "osd": everything,
                             "mgr": "allow profile osd"}
                for n in range(self._osds)
            },
        }  # fmt: skip
        self._tool(tool, "--create-keyring", keyring)
        for name, allowed in caps.items():
            flags = [part for to, what in allowed.items() for part in ("--cap", to, what)]
            made = KEYS.get(self.programs.release, ()) if name == USER else ()
            self._tool(tool, keyring, "--gen-key", *made, "-n", name, *flags)
        address = f"[v2:127.0.0.1:{self._ports[0]},v1:127.0.0.1:{self._ports[1]}]"
        monmap = str(self._home / "monmap")
        conf = ("--conf", str(self.conf))
        self._tool(
            *("monmaptool", "--create", "--fsid", self._fsid, "--addv", "a", address, monmap)
        )
        mkfs = ("--mkfs", "-i", "a", "--monmap", monmap, "--keyring", keyring)
        self._tool("ceph-mon", *mkfs, *conf)

    def _start_all(self) -> None:
        self.start("mon.a")
        if self.programs.release in KEYS:
            self.run("mon", "set", "auth_allowed_ciphers", "aes,aes256k")
        self.run("auth", "get", USER, "-o", str(self.keyring))
        self.start("mgr.x")
        for number in range(self._osds):
            identity = str(uuid.uuid4())
            assert self.run("osd", "new", identity).strip() == str(number)
            (self._home / f"osd.{number}").mkdir()
            mkfs = ("--mkfs", "-i", str(number), "--osd-uuid", identity)
            self._tool("ceph-osd", *mkfs, "--conf", str(self.conf))
            self.start(f"osd.{number}")
        for pool in ("files.meta", "files.data"):
            self.run("osd", "pool", "create", pool, "8")
        self.run("fs", "new", FILE_SYSTEM, "files.meta", "files.data")
        for name in self._mdss:
            (self._home / f"mds.{name}").mkdir()
            self.start(f"mds.{name}")
        # Its own manager has no modules here: they would do what those under test do.
        self.run("health", "mute", "MGR_MODULE_ERROR", "--sticky")
        wait_for(self._ready, "a Ceph at work", READY_S)

    def _ready(self) -> bool:
        status = self.read("status")
        states = status["pgmap"].get("pgs_by_state", [])
        clean = [each["state_name"] for each in states] == ["active+clean"]
        return (
            clean
            and bool(status["fsmap"].get("by_rank"))
            and (status["fsmap"]["by_rank"][0]["status"] == "up:active")
        )

    def _configuration(self) -> str:
        home, root = self._home, self.programs.plugins
        nothing = self._home / "no-modules"
        nothing.mkdir()
        return f"""\
[global]
fsid = {self._fsid}
mon host = [v2:127.0.0.1:{self._ports[0]},v1:127.0.0.1:{self._ports[1]}]
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
keyring = {home}/keyring
run dir = {home}
log file = {home}/$name.log
log to stderr = false
err to stderr = true
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind ipv6 = false
admin socket = {home}/$name.asok
pid file = {home}/$name.pid
plugin dir = {root}/ceph
erasure code dir = {root}/ceph/erasure-code
osd class dir = {root}/rados-classes
osd pool default size = 1
osd pool default min size = 1
osd crush chooseleaf type = 0
mon warn on pool no redundancy = false
mon allow pool delete = true
mon allow pool size one = true
auth allow insecure global id reclaim = false
# One without a processor for a while is not down; an OSD that misses its read lease reads nothing.
osd heartbeat grace = {GRACE_S}
mds beacon grace = {GRACE_S}
mon mgr beacon grace = {GRACE_S}

[client]
# An operator's own limits, shorter than those that modules get otherwise.
rados mon op timeout = 8
rados osd op timeout = 15

[mon]
mon data = {home}/mon.$id
mon cluster log file = {home}/cluster.log
mon data avail warn = 1
mon data avail crit = 0

[mgr]
mgr data = {home}/mgr.$id
mgr module path = {nothing}
mgr disabled modules = none

[osd]
osd data = {home}/osd.$id
osd objectstore = memstore
memstore device bytes = 536870912

[mds]
mds data = {home}/mds.$id
"""

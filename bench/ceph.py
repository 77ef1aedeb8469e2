"""A small Ceph beside ours: one monitor and two ceph-mgr of Debian's packages, on loopback.

Nothing is installed: the packages are unpacked in the cache, data lies in memory, and all processes
end with the block. There is no authentication and no OSD.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Self

from bench.setting import MEMORY
from mgr.clock import CLOCK
from tests.support import debian, process

SUITE: Final = "bookworm"
PACKAGES: Final = ("ceph-mon", "ceph-mgr", "ceph-mgr-modules-core", "python3-rados")
MODULE: Final = Path(__file__).parent / "peer_modules" / "probe"
ALWAYS_ON: Final = (
    *("balancer", "crash", "devicehealth", "orchestrator", "pg_autoscaler", "progress"),
    *("rbd_support", "status", "telemetry", "volumes"),
)
"""The modules that Ceph does not run without; it imports all that it finds before it is up."""
LIBRARIES: Final = (
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu/ceph",
)
UP_WITHIN_S: Final = 240.0
ANSWERED_WITHIN_S: Final = 120.0


class NoPeerError(Exception):
    """Ceph cannot be had or does not start here; the text says why."""


class Ceph(contextlib.ExitStack):
    """Running daemons. Use it as a context manager.

    Attributes:
        version: Of ceph-mgr.

    """

    def __init__(self) -> None:
        super().__init__()
        self.version = ""
        self._names = ("x", "y")
        self._managers: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        try:
            self._root = _unpacked()
            self._folder = Path(
                self.enter_context(
                    tempfile.TemporaryDirectory(prefix="mgr-bench-ceph-", dir=MEMORY)
                )
            )
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    @property
    def environment(self) -> dict[str, str]:
        """What its programs and ``rados`` need."""
        folders = [f"{self._root}{each}" for each in LIBRARIES]
        return {
            **os.environ,
            "LD_LIBRARY_PATH": ":".join(folders),
            "PYTHONPATH": f"{self._root}/usr/lib/python3/dist-packages",
            "CEPH_CONF": str(self._folder / "ceph.conf"),
        }

    def active(self) -> str:
        """The name of the active manager."""
        return str(self.monitor({"prefix": "mgr dump", "format": "json"})["active_name"])

    def monitor(self, command: Mapping[str, Any]) -> Any:
        """Run a command of the monitor; its JSON."""
        with Client(self) as client:
            return client.monitor(command)

    def enable(self) -> None:
        """Enable the probe, and wait until it answers."""
        with Client(self) as client:
            client.monitor({"prefix": "mgr module enable", "module": "probe", "force": "--force"})
            client.wait_answered()

    def kill_active(self) -> None:
        """End the active manager as ``kill -9`` does; the other one takes over."""
        name = self.active()
        self._managers[name].kill()
        self._managers[name].wait(10)

    def fail_active(self) -> None:
        """Have the active give up."""
        self.monitor({"prefix": "mgr fail", "who": self.active()})

    def revive(self) -> None:
        """Start managers that have ended."""
        for name, running in self._managers.items():
            if running.poll() is not None:
                self._managers[name] = self._daemon("ceph-mgr", name)
        self._wait_standby()

    def _start(self) -> None:
        fsid, port, second = uuid.uuid4(), process.free_port(), process.free_port()
        (self._folder / "ceph.conf").write_text(self._conf(str(fsid), port, second))
        modules, every = self._folder / "modules", self._root / "usr/share/ceph/mgr"
        modules.mkdir()
        for each in (*every.glob("*.py"), *(every / name for name in ALWAYS_ON), MODULE):
            (modules / each.name).symlink_to(each)
        binary = self._root / "usr/bin"
        address = f"[v2:127.0.0.1:{port}/0,v1:127.0.0.1:{second}/0]"
        for command in (
            [binary / "monmaptool", "--create", "--fsid", fsid, "--addv", "a", address, "monmap"],
            [binary / "ceph-mon", "--mkfs", "-i", "a", "--monmap", "monmap", "-c", "ceph.conf"],
        ):
            self._run([str(part) for part in command])
        self.version = self._run([str(binary / "ceph-mgr"), "--version"]).split()[2]
        self._daemon("ceph-mon", "a")
        for name in self._names:
            self._managers[name] = self._daemon("ceph-mgr", name)
        self._wait_standby()

    def _wait_standby(self) -> None:
        with Client(self) as client:
            end, pause = CLOCK.now() + UP_WITHIN_S, threading.Event()
            while CLOCK.now() < end:
                found = client.monitor({"prefix": "mgr dump", "format": "json"})
                if found["available"] and found["standbys"]:
                    return
                pause.wait(0.2)
        raise NoPeerError(f"no active and standby ceph-mgr within {UP_WITHIN_S:g} s: {self._log()}")

    def _daemon(self, program: str, name: str) -> subprocess.Popen[bytes]:
        command = [self._root / "usr/bin" / program, "-f", "-i", name]
        started = process.start(
            command, log=self._folder / f"{program}.{name}.out", environment=self.environment
        )
        self.callback(process.end, started)
        return started

    def _run(self, command: list[str]) -> str:
        done = subprocess.run(
            command,
            cwd=self._folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode:
            raise NoPeerError(f"{command[0]}: {(done.stderr or done.stdout).strip()[-300:]}")
        return done.stdout

    def _log(self) -> str:
        return " | ".join(
            f"{file.name}: {file.read_text(errors='replace')[-300:]}"
            for file in sorted(self._folder.glob("*.out"))
        )

    def _conf(self, fsid: str, port: int, second: int) -> str:
        folder, library = self._folder, f"{self._root}/usr/lib/x86_64-linux-gnu"
        return f"""\
[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:{port}/0,v1:127.0.0.1:{second}/0]
mon initial members = a
auth cluster required = none
auth service required = none
auth client required = none
auth allow insecure global id reclaim = true
run dir = {folder}
admin socket = {folder}/$name.$pid.asok
pid file =
log file = {folder}/$name.log
crash dir = {folder}/crash
mon data = {folder}/$name
mgr data = {folder}/$name
mon data avail crit = 0
mon data avail warn = 0
mgr module path = {folder}/modules
mgr initial modules =
mgr disabled modules = restful dashboard influx telegraf zabbix
plugin dir = {library}/ceph
erasure code dir = {library}/ceph/erasure-code
rados api version =
ms bind ipv6 = false
public addr = 127.0.0.1
"""


class Client:
    """A process of its own that speaks Ceph's protocol by ``rados``, and measures there."""

    def __init__(self, ceph: Ceph) -> None:
        self._ceph = ceph

    def __enter__(self) -> Self:
        self._running = subprocess.Popen(
            [sys.executable, "-P", str(Path(__file__).with_name("ceph_client.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=self._ceph.environment,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._running.communicate("")

    def ask(self, what: str, **arguments: Any) -> Any:
        """Have the process do ``what``; what it found."""
        assert self._running.stdin
        assert self._running.stdout
        self._running.stdin.write(json.dumps({"what": what, **arguments}) + "\n")
        self._running.stdin.flush()
        line = self._running.stdout.readline()
        if not line:
            raise NoPeerError("the client of Ceph ended: does rados fit this Python?")
        answer = json.loads(line)
        if "error" in answer:
            raise NoPeerError(answer["error"])
        return answer["found"]

    def monitor(self, command: Mapping[str, Any]) -> Any:
        """Run a command of the monitor; its JSON, None if it has none."""
        return self.ask("monitor", command=command)

    def wait_answered(self) -> float:
        """Wait until the probe answers; the moment, on the boot clock."""
        return float(self.ask("answered", within_s=ANSWERED_WITHIN_S))


@contextlib.contextmanager
def peer() -> Iterator[Ceph]:
    """A running Ceph.

    Raises:
        NoPeerError: It cannot be had here.

    """
    with Ceph() as running:
        yield running


def _unpacked() -> Path:
    try:
        # With everything that they need: "" begins every name.
        home = debian.CACHE / "ceph" / "programs"
        return debian.unpacked_with_needs(SUITE, PACKAGES, ("",), home)
    except (OSError, subprocess.SubprocessError) as error:
        raise NoPeerError(f"{' '.join(PACKAGES)} of Debian {SUITE}: {error}") from error

"""Real etcds for tests: alone or three together, with TLS or users, to be killed and frozen."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Self

import pytest

from mgr.clock import CLOCK
from tests.support import fetch_etcd, process
from tests.support.fetch_etcd import NoEtcdError, Program

READY_WITHIN_S: Final = 20.0
ASK_EVERY_S: Final = 0.02
MEMORY: Final = Path("/dev/shm")
MEMBERS: Final = ("e1", "e2", "e3")
DATA: Final = "mgr-test-etcd-"
"""What directories with data are called; then the id of the run's process, then anything."""


class Etcd:
    """One etcd. Use as a context manager: it listens on entry and is gone after the exit."""

    def __init__(
        self,
        directory: Path,
        *,
        name: str = "etcd",
        program: Program | None = None,
        flags: Mapping[str, str] | None = None,
        scheme: str = "http",
        host: str = "127.0.0.1",
        within: Sequence[str] = (),
    ) -> None:
        """Keep data and log in ``directory``; ``flags`` add to etcd's own, without dashes.

        ``within`` is put before its command: that of a network namespace where ``host`` is.
        """
        self.name = name
        self.directory = directory
        self.program = program or fetch_etcd.find()
        self.address = f"{host}:{process.free_port()}"
        self.peer = f"http://{host}:{process.free_port()}"
        self.cluster = f"{name}={self.peer}"
        self._scheme = scheme
        self._flags = dict(flags or {})
        self._within = tuple(within)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Where it listens, as ``EtcdStore`` wants it."""
        return (self.address,)

    @property
    def log(self) -> Path:
        """Its log file."""
        return self.directory / f"{self.name}.log"

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None, f"{self.name} was not started"
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether its process exists, frozen or not."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it over the data it had; returns at once."""
        self.directory.mkdir(parents=True, exist_ok=True)
        url = f"{self._scheme}://{self.address}"
        flags = {
            "name": self.name,
            "data-dir": str(self.directory / f"{self.name}.data"),
            "listen-client-urls": url,
            "advertise-client-urls": url,
            "listen-peer-urls": self.peer,
            "initial-advertise-peer-urls": self.peer,
            "initial-cluster": self.cluster,
            "log-level": "warn",
            "unsafe-no-fsync": "true",
            **self._flags,
        }
        words = (f"--{flag}={value}" for flag, value in flags.items())
        command = [*self._within, self.program.path, *words]
        self._process = process.start(command, log=self.log)

    def wait_ready(self) -> None:
        """Wait until it takes connections; etcd does so once it has a leader."""
        host, _, port = self.address.rpartition(":")
        ends_at = CLOCK.now() + READY_WITHIN_S
        while CLOCK.now() < ends_at:
            assert self._process is not None
            if self._process.poll() is not None:
                break
            try:
                socket.create_connection((host, int(port)), timeout=1).close()
            except OSError:
                signal.sigtimedwait([], ASK_EVERY_S)
            else:
                return
        raise AssertionError(f"{self.name} does not listen: {self.log.read_text()[-2000:]}")

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal; one that was killed before, by another fault, gets none."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def freeze(self) -> None:
        """Stop it in the middle of whatever it does (SIGSTOP)."""
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self.signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill it (SIGKILL); ``start`` starts it again over its data."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(5)

    def stop(self) -> None:
        """End it, in whatever state it is."""
        if self._process is not None:
            process.end(self._process, patience_s=2.0)

    def __enter__(self) -> Self:
        try:
            self.start()
            self.wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class EtcdCluster:
    """Three etcds that elect a leader among them. Use as a context manager."""

    def __init__(
        self,
        directory: Path,
        *,
        program: Program | None = None,
        flags: Mapping[str, str] | None = None,
        hosts: Mapping[str, str] | None = None,
        within: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """Keep data and logs in ``directory``; ``flags`` as for ``Etcd``.

        ``hosts`` and ``within`` are as for ``Etcd``, by the members' names: e1, e2, e3.
        """
        program = program or fetch_etcd.find()
        self.members = [
            Etcd(
                directory,
                name=name,
                program=program,
                flags=flags,
                host=(hosts or {}).get(name, "127.0.0.1"),
                within=(within or {}).get(name, ()),
            )
            for name in MEMBERS
        ]
        everybody = ",".join(member.cluster for member in self.members)
        for member in self.members:
            member.cluster = everybody

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Where the three listen."""
        return tuple(member.address for member in self.members)

    def at(self, address: str) -> Etcd:
        """The member that listens at ``address``."""
        return next(member for member in self.members if member.address == address)

    def __enter__(self) -> Self:
        try:
            for member in self.members:
                member.start()
            for member in self.members:
                member.wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End all of them."""
        for member in self.members:
            # Without a quorum, an orderly stop would wait for what cannot happen.
            if member._process is not None:
                member._process.kill()
            member.stop()


@pytest.fixture(scope="session")
def etcd_program(pytestconfig: pytest.Config) -> Program:
    """An etcd that runs here; skips, saying why, where there is none."""
    try:
        program = fetch_etcd.find()
    except NoEtcdError as error:
        pytest.skip(f"NO ETCD, so nothing that needs one is tested: {error}")
    if program.warning:
        capture = pytestconfig.pluginmanager.getplugin("capturemanager")
        with capture.global_and_fixture_disabled():
            sys.stderr.write(
                f"\n*** THESE TESTS RUN ON AN OLD ETCD {program.version} WITH KNOWN DEFECTS: "
                f"{program.warning}\n"
            )
    return program


@pytest.fixture(scope="session")
def etcd_directory() -> Iterator[Path]:
    """A directory for etcds' data: in memory where the machine has such a place."""
    place = MEMORY if os.access(MEMORY, os.W_OK) else Path(tempfile.gettempdir())
    for left in place.glob(f"{DATA}*"):
        # Of a run that was killed: its etcds died with it, their data did not.
        if process.gone(int(left.name.removeprefix(DATA).partition("-")[0])):
            shutil.rmtree(left, ignore_errors=True)
    directory = Path(tempfile.mkdtemp(prefix=f"{DATA}{os.getpid()}-", dir=place))
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
def etcd(etcd_program: Program, etcd_directory: Path) -> Iterator[Etcd]:
    """One etcd for the whole run. Use keys of your own; do not harm it."""
    with Etcd(etcd_directory / "shared", program=etcd_program) as running:
        yield running


@pytest.fixture
def own_etcd(etcd_program: Program, etcd_directory: Path) -> Iterator[Etcd]:
    """One etcd for one test, to be killed and frozen."""
    directory = Path(tempfile.mkdtemp(dir=etcd_directory))
    with Etcd(directory, program=etcd_program) as running:
        yield running
    shutil.rmtree(directory)


@pytest.fixture
def etcd_cluster(etcd_program: Program, etcd_directory: Path) -> Iterator[EtcdCluster]:
    """Three etcds for one test, to be killed and frozen."""
    directory = Path(tempfile.mkdtemp(dir=etcd_directory))
    with EtcdCluster(directory, program=etcd_program) as running:
        yield running
    shutil.rmtree(directory)

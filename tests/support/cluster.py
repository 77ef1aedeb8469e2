"""A real cluster on this machine: several ``mgrd`` processes over a given etcd."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

from mgr.addresses import is_loopback
from mgr.client.blocking import Client
from mgr.clock import CLOCK
from mgr.errors import MgrError, ModuleNotReadyError, UnreachableError
from tests.support import process

T = TypeVar("T")

MGRD = Path(sys.executable).with_name("mgrd")
"""The installed console script: what users start."""


class Manager:
    """One ``mgrd``: its guard, and through it its worker."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        addresses: tuple[str, str],
        environment: Mapping[str, str] | None = None,
    ):
        self.name = name
        self.log = log
        self.grpc_address, self.http_address = addresses
        self._command = command
        self._environment = environment
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    def guard_pid(self) -> int:
        """The parent process."""
        assert self._guard is not None, f"{self.name} was not started"
        return self._guard.pid

    @property
    def worker_pid(self) -> int:
        """The child process; waits for one where the last has just gone."""
        return wait_for(
            lambda: next(iter(process.workers(self.guard_pid)), None), f"worker of {self.name}"
        )

    @property
    def running(self) -> bool:
        """Whether the guard exists."""
        return self._guard is not None and self._guard.poll() is None

    def start(self) -> None:
        """Start it; returns at once."""
        self._guard = process.start(self._command, log=self.log, environment=self._environment)

    def twin(self, log: Path) -> Manager:
        """Another one, of the same name and on the same addresses, not started."""
        addresses = (self.grpc_address, self.http_address)
        return Manager(self.name, self._command, log, addresses, self._environment)

    def signal(self, number: signal.Signals, *, worker: bool = False) -> None:
        """Send a signal to the guard, or to the worker."""
        os.kill(self.worker_pid if worker else self.guard_pid, number)

    def wait(self, timeout_s: float = 10) -> int:
        """Wait until the guard has ended; its exit status."""
        assert self._guard is not None
        return self._guard.wait(timeout_s)

    def stop(self) -> None:
        """End guard and worker, whatever state they are in."""
        if self._guard is None:
            return
        below = process.descendants(self._guard.pid)
        for pid in below:
            # A worker frozen by a test would keep its guard waiting.
            _signal_quietly(pid, signal.SIGCONT)
        process.end(self._guard)
        for pid in below:
            if not process.gone(pid):
                _signal_quietly(pid, signal.SIGKILL)


class Cluster:
    """Use as a context manager: everything is started on entry and gone after the exit."""

    def __init__(
        self,
        directory: Path,
        etcd: Sequence[str],
        *,
        names: Sequence[str] = ("a", "b", "c"),
        own: Mapping[str, Mapping[str, Any]] | None = None,
        environments: Mapping[str, Mapping[str, str]] | None = None,
        hosts: Mapping[str, str] | None = None,
        within: Mapping[str, Sequence[str]] | None = None,
        **settings: Any,
    ):
        """Set ``settings`` for all; ``own`` and ``environments`` are for single managers.

        So is ``within``, put before the command of one that runs on a host of its own.
        """
        self.name = f"t{uuid.uuid4().hex[:8]}"
        self.etcd = tuple(etcd)
        self.directory = directory
        self._settings = settings
        self._own = own or {}
        self._environments = environments or {}
        self._hosts = hosts or {}
        self._within = within or {}
        self.managers = {name: self._manager(name) for name in names}

    def _manager(self, name: str) -> Manager:
        host = self._hosts.get(name, "127.0.0.1")
        grpc, http = (f"{host}:{process.free_port()}" for _ in range(2))
        settings = {
            "id": name,
            "cluster": self.name,
            "etcd": ",".join(self.etcd),
            "grpc_listen": grpc,
            "http_listen": http,
            # A host of its own, in a network namespace that nobody else reaches.
            **({} if is_loopback(host) else {"unprotected": "true"}),
            **self._settings,
            **self._own.get(name, {}),
        }
        flags = [
            part
            for key, value in settings.items()
            for part in (f"--{key.replace('_', '-')}", str(value))
        ]
        log, environment = self.directory / f"{name}.log", self._environments.get(name)
        command = [*self._within.get(name, ()), str(MGRD), *flags]
        return Manager(name, command, log, (grpc, http), environment)

    def add(self, name: str, **own: Any) -> Manager:
        """Make one more manager, with settings of its own; it is not started."""
        self._own = {**self._own, name: own}
        self.managers[name] = self._manager(name)
        return self.managers[name]

    def __enter__(self) -> Self:
        try:
            for manager in self.managers.values():
                manager.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.stop()
        if kind is not None:
            sys.stderr.write(self.logs())

    def stop(self) -> None:
        """End every process."""
        for manager in self.managers.values():
            manager.stop()

    def logs(self, lines: int = 60) -> str:
        """The last lines of every manager's log, for a failed test."""
        parts = []
        for manager in self.managers.values():
            if manager.log.exists():
                tail = manager.log.read_text(errors="replace").splitlines()[-lines:]
                parts.append("\n".join([f"---- {manager.name}", *tail, ""]))
        return "\n".join(parts)

    @property
    def hosts(self) -> list[str]:
        """Every manager's gRPC address."""
        return [manager.grpc_address for manager in self.managers.values()]

    def client(self) -> Client:
        """A client that knows all managers; close it."""
        return Client(self.hosts)

    def active(self, timeout_s: float = 20) -> Manager:
        """Wait until one manager is active and answers; that one."""
        with self.client() as client:
            return wait_for(lambda: self._alive(self._active(client)), "an active", timeout_s)

    def _alive(self, found: Manager | None) -> Manager | None:
        # Whoever waits for a cluster that is gone should not wait until the limit.
        assert any(manager.running for manager in self.managers.values()), self.logs()
        return found

    def _active(self, client: Client) -> Manager | None:
        try:
            answer = client.execute(["mgr", "stat"], timeout_s=1)
            status = client.status()
        except MgrError:
            return None
        # Both must agree, or leadership is just changing.
        name = status.active.name if status.active else ""
        return self.managers.get(name) if name and f'"{name}"' in answer.text else None

    def _warm(self, client: Client) -> int:
        try:
            return sum(standby.warm for standby in client.status().standbys)
        except MgrError:
            return 0

    def settled(self, timeout_s: float = 20) -> Manager:
        """Wait until one is active and all others that run are warm standbys; the active."""
        running = sum(manager.running for manager in self.managers.values())

        def probe() -> Manager | None:
            active = self._active(client)
            warm = self._warm(client) if active else 0
            return self._alive(active if warm == running - 1 else None)

        with self.client() as client:
            return wait_for(probe, "one active and warm standbys", timeout_s)

    def run(self, *words: str, timeout_s: float = 10, **arguments: Any) -> Any:
        """Run one command through a fresh client; its answer."""
        with self.client() as client:
            return client.execute(list(words), arguments, timeout_s=timeout_s)

    def enable(self, *modules: str) -> None:
        """Enable modules and wait until each runs."""
        for module in modules:
            answer = self.run("mgr", "module", "enable", module)
            assert answer.retval == 0, answer


def wait_for(probe: Callable[[], T | None], what: str, timeout_s: float = 20) -> T:
    """Ask ``probe`` until it gives something; fails by name after ``timeout_s``."""
    end = process.deadline(timeout_s)
    pause = threading.Event()
    while True:
        found = probe()
        if found:
            return found
        if CLOCK.now() > end:
            raise TimeoutError(f"waited {timeout_s} s for {what}")
        pause.wait(0.02)


def until_answered(act: Callable[[], T], timeout_s: float) -> T:
    """Do ``act`` again while nobody answers, or not yet: on a busy machine; nothing ran then.

    Raises:
        MgrError: That of the last time, after ``timeout_s``; another one at once.

    """
    end = process.deadline(timeout_s)
    while True:
        try:
            return act()
        except (UnreachableError, ModuleNotReadyError):
            if CLOCK.now() > end:
                raise


def _signal_quietly(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def lines(log: Path) -> Iterator[str]:
    """The lines of a log as they stand now."""
    return iter(log.read_text(errors="replace").splitlines())

"""The worker's end of the zygotes: starts processes for modules, and learns how they end."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import signal
import socket
from collections.abc import Callable
from typing import Any, Final

from mgr.clock import CLOCK
from mgr.module_process.messages import FDS_MAX, PACKET_BYTES_MAX, dumps, loads
from mgr.module_process.process import LINES, ModuleProcess
from mgr.worker_trace import WorkerTrace

START_S: Final = 60.0
"""How long a zygote may take to fork, also while it still imports what modules need."""

AT_DEADLINE: Final = "the deadline of the term: it may act outside etcd"
ZYGOTE_ENDED: Final = "the end of the process that forks for modules"
"""Reasons for the end of a process that are not its own fault."""

log = logging.getLogger(__name__)


class ZygoteError(Exception):
    """No process can be started; the text says why."""


class ZygoteLink:
    """The control socket of one zygote. Use it on the loop."""

    def __init__(
        self,
        control: socket.socket,
        tasks: asyncio.TaskGroup,
        on_gone: Callable[[ZygoteLink], None],
        *,
        deadline: bool = False,
    ) -> None:
        """Own ``control``. ``on_gone`` is called when the zygote has ended.

        ``deadline``: the kernel may end it at a deadline.
        """
        self._control = control
        self._tasks = tasks
        self._on_gone = on_gone
        self._deadline = deadline
        self._until_ns = 0
        self._numbers = itertools.count(1)
        self._starting: dict[int, asyncio.Future[tuple[int, int]]] = {}
        self._processes: dict[int, ModuleProcess] = {}
        # How processes ended that ``start`` does not know yet.
        self._early_ends: dict[int, int] = {}
        self.alive = True
        self.timed: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        """Whether the kernel gives it timers; done once it has imported everything."""
        control.setblocking(False)  # noqa: FBT003 - the name of the parameter is "flag"
        asyncio.get_running_loop().add_reader(control.fileno(), self._receive)

    def pids(self) -> dict[str, int]:
        """Return the living processes by module."""
        return {each.module: pid for pid, each in self._processes.items()}

    async def start(self, module: str) -> ModuleProcess:
        """Fork a process for ``module``.

        Raises:
            ZygoteError: The system refuses it, or the zygote has ended.

        """
        trace = WorkerTrace()
        pairs = [socket.socketpair() for _ in range(LINES)]
        try:
            fds = [theirs.fileno() for _, theirs in pairs]
            pid, pidfd = await self._request("fork", [*fds, trace.fd])
        except BaseException:
            for ours, _ in pairs:
                ours.close()
            trace.close()
            raise
        finally:
            for _, theirs in pairs:
                theirs.close()
        process = ModuleProcess(module, pid, pidfd, trace, self._tasks)
        self._processes[pid] = process
        for ours, _ in pairs:
            ours.setblocking(False)  # noqa: FBT003 - as above
        await process.connect([ours for ours, _ in pairs])
        if pid in self._early_ends or not self.alive:
            self._end(pid, self._early_ends.pop(pid, -signal.SIGKILL))
        return process

    async def fork_zygote(self) -> socket.socket:
        """Have it fork a zygote that can have a deadline; return its control socket.

        Raises:
            ZygoteError: The system refuses it, or the zygote has ended.

        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            _, pidfd = await self._request("zygote", [theirs.fileno()])
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        os.close(pidfd)
        return ours

    def set_deadline(self, until_ns: int) -> None:
        """Kill all its processes at that moment of ``CLOCK_BOOTTIME``; 0: never."""
        self._until_ns = until_ns
        # A zygote that is gone is noticed by the end of its socket. One that is stopped does not
        # get this: then the earlier deadline stays, which is safe.
        with contextlib.suppress(ZygoteError):
            self._send(("until", until_ns))

    @property
    def busy(self) -> bool:
        """Whether it has processes, or forks one."""
        return bool(self._processes or self._starting)

    def close(self) -> None:
        """End the zygote, with everything below it."""
        if self.alive:
            self._lost()

    async def _request(self, name: str, fds: list[int]) -> tuple[int, int]:
        number = next(self._numbers)
        future: asyncio.Future[tuple[int, int]] = asyncio.get_running_loop().create_future()
        self._starting[number] = future
        self._send((name, number), fds)
        try:
            async with asyncio.timeout(START_S):
                return await future
        except TimeoutError:
            raise ZygoteError(f"no process could be forked within {START_S:g} s") from None
        finally:
            self._starting.pop(number, None)

    def _send(self, message: tuple[Any, ...], fds: list[int] | None = None) -> None:
        try:
            socket.send_fds(self._control, [dumps(message)], fds or [])
        except OSError as error:
            raise ZygoteError(f"the process that forks for modules: {error}") from None

    def _receive(self) -> None:
        try:
            packet, fds, _, _ = socket.recv_fds(self._control, PACKET_BYTES_MAX, FDS_MAX)
        except BlockingIOError:
            return
        except OSError:
            packet, fds = b"", []
        if not packet:
            self._lost()
            return
        match loads(packet):
            case ("ready", bool(timed)) if not self.timed.done():
                self.timed.set_result(timed)
            case ("started", number, pid):
                self._on_started(number, pid, fds[0])
            case ("failed", number, why):
                self._on_failed(number, why)
            case ("ended", pid, status):
                self._end(pid, status)
            case ("expired", _):
                for process in self._processes.values():
                    process.reason = AT_DEADLINE

    def _on_started(self, number: int, pid: int, pidfd: int) -> None:
        future = self._starting.get(number)
        if future is not None and not future.done():
            future.set_result((pid, pidfd))
            return
        # Nobody waits for it any more.
        os.close(pidfd)
        self._send(("kill", pid))

    def _on_failed(self, number: int, why: str) -> None:
        future = self._starting.get(number)
        if future is not None and not future.done():
            future.set_exception(ZygoteError(f"no process could be forked: {why}"))

    def _end(self, pid: int, status: int) -> None:
        process = self._processes.pop(pid, None)
        if process is None:
            self._early_ends[pid] = status
        else:
            process.on_exit(status)

    def _lost(self) -> None:
        """Take in that the zygote has ended: the kernel has killed every process below it."""
        self.alive = False
        asyncio.get_running_loop().remove_reader(self._control.fileno())
        self._control.close()
        for future in self._starting.values():
            if not future.done():
                future.set_exception(ZygoteError("the process that forks for modules has ended"))
        if not self.timed.done():
            self.timed.set_result(False)
        processes, self._processes = self._processes, {}
        # The kernel may have ended it at the deadline; but so may anybody with a signal before.
        expired = self._deadline and 0 < self._until_ns <= CLOCK.now() * 1e9
        for process in processes.values():
            process.reason = process.reason or (AT_DEADLINE if expired else ZYGOTE_ENDED)
            process.abort()
        self._on_gone(self)

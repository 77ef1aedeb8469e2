"""The worker process as its guard handles it: messages by the link, its end by the reaper."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from typing import Final

from mgr.guard.attribution import FATAL
from mgr.guard.kernel_facts import oom_kills, thread_times, times_since
from mgr.guard.reaper import CLEAN_SCANS, PACKET_BYTES_MAX, descendants
from mgr.guard.spawn import SpawnedWorker
from mgr.guard.worker_supervisor import DEADLINE, Evidence, WorkerListener
from mgr.link import LINE_BYTES_MAX, UNREADABLE, Init, Message, encode, from_worker
from mgr.worker_trace import stacks_text

RECEIVE_BYTES: Final = 1 << 16
OUTBOX_BYTES_MAX: Final = 1 << 20
"""How many unsent bytes are kept for a worker that does not read. Beyond that, messages are
dropped: the worker is frozen, and the watchdog kills it."""
KILL_S: Final = 0.5
"""How long a reaper may take to kill a worker. Then it is killed itself, and the worker with it."""
ORPHANS_EVERY_S: Final = 0.002
ORPHANS_EVERY_S_MAX: Final = 0.5
"""Pauses between two scans for processes that a killed reaper left; each doubles the one before."""
LOG_STACKS_AFTER_S: Final = 0.1
"""How long after a dump of stacks was requested it is copied to the log."""
REAPED_S: Final = 10.0
"""How long the next worker waits for the ports of one that has ended; then it tries without."""
COLLECT_EVERY_S: Final = 0.01
"""Pause between two checks whether a reaper that has reported the end has exited itself."""

log = logging.getLogger(__name__)


class WorkerProcess:
    """One worker process, child of its reaper. Its end is reported at once and for certain.

    The reaper reports the end when the worker *and everything that it started* has ended. If the
    reaper itself is killed, the kernel kills the worker, and whatever the worker started becomes
    a child of this process (``mgr.guard.service`` makes it a sub-reaper), which then kills it.
    """

    def __init__(self, spawned: SpawnedWorker, init: Init, listener: WorkerListener) -> None:
        """Take over ``spawned`` and send ``init``. To be called on the loop's thread."""
        self.incarnation = init.incarnation
        self.pid = 0
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._inbox = b""
        self._outbox = bytearray()
        self._reaper, self._control, self._link, self._trace = spawned
        self._stacks_to_log = False
        self._times_at_dump: dict[int, int] = {}
        self._busy: dict[int, int] = {}
        self._oom_kills = oom_kills()
        self._unrelated_pids = descendants(os.getpid()) - {
            self._reaper.pid,
            *descendants(self._reaper.pid),
        }
        self._sweeps: list[asyncio.Future[bool]] = []
        self._escalation: asyncio.TimerHandle | None = None
        self._killed_pids: set[int] = set()
        self._clean_scans = 0
        self._reaped = asyncio.Event()
        self._orphans_s = ORPHANS_EVERY_S
        for end in (self._link, self._control):
            end.setblocking(False)  # noqa: FBT003 - the name of the parameter is "flag"
        self._loop.add_reader(self._control, self._read_control)
        self._loop.add_reader(self._link, self._read_link)
        self.send(init)

    def send(self, message: Message) -> None:
        """Send ``message``; never waits. For a worker that is gone or frozen it is dropped."""
        if self._link.fileno() < 0 or len(self._outbox) > OUTBOX_BYTES_MAX:
            return
        self._outbox += encode(message)
        self._flush_outbox()

    def dump_stacks(self) -> None:
        """Dump every thread's stack to the log, even if the worker's interpreter is stuck."""
        if self._trace is not None:
            self._trace.forget_stacks()
        self._times_at_dump = thread_times(self.pid)
        self._stacks_to_log = True
        self._send_to_reaper("dump")
        self._loop.call_later(LOG_STACKS_AFTER_S, self._log_stacks)

    def evidence(self) -> Evidence:
        """Return what it left for whoever examines its death."""
        content = self._trace.read() if self._trace is not None else b""
        return Evidence(content, self._busy, oom_kills() > self._oom_kills)

    def set_kill_timer(self, deadline_s: float | None) -> None:
        """Let the reaper kill the worker, with all it started, at ``deadline_s``; None: never."""
        self._send_to_reaper(f"until {0 if deadline_s is None else int(deadline_s * 1e9)}")

    async def sweep(self) -> bool:
        """Kill what the worker started, not the worker; return whether nothing is left."""
        done: asyncio.Future[bool] = self._loop.create_future()
        self._sweeps.append(done)
        self._send_to_reaper("sweep")
        try:
            async with asyncio.timeout(KILL_S):
                return await done
        except TimeoutError:
            return False

    def kill(self) -> None:
        """Kill the worker with everything it started; ``on_exit`` follows, unless it is gone."""
        if self._control.fileno() >= 0 and self._escalation is None:
            if self._times_at_dump:
                self._busy = times_since(self._times_at_dump, thread_times(self.pid))
            self._send_to_reaper("kill")
            self._escalation = self._loop.call_later(KILL_S, self._reaper.kill)

    async def reaped(self) -> None:
        """Return when the worker's memory and ports are free, or after ``REAPED_S``."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REAPED_S):
                await self._reaped.wait()

    # -- the reaper -------------------------------------------------------------------------------

    def _send_to_reaper(self, words: str) -> None:
        # A reaper that is gone is noticed by the end of its socket. One that is stopped does not
        # receive an ``until``: then the previous, earlier deadline stays, which is safe.
        with contextlib.suppress(OSError):
            self._control.send(words.encode())

    def _read_control(self) -> None:
        try:
            packet = self._control.recv(PACKET_BYTES_MAX)
        except BlockingIOError:
            return
        except OSError:
            packet = b""
        match packet.decode().split():
            case ["pid", pid]:
                self.pid = int(pid)
                log.info("worker started", extra={"pid": self.pid})
            case ["untimed"]:
                log.error(
                    "the kernel refuses a timer: modules that act outside etcd may act too late "
                    "or not start at all (timer_create and timerfd_create on CLOCK_BOOTTIME are "
                    "needed)"
                )
            case ["armed"]:
                self._listener.on_time_limit_set()
            case ["swept" | "unswept" as answer]:
                self._on_swept(nothing_left=answer == "swept")
            case ["gone", how, code]:
                self._on_end(exit_status_text(int(code)) if how == "exited" else DEADLINE)
            case []:
                log.error("reaper of the worker exited", extra={"pid": self._reaper.pid})
                self._loop.remove_reader(self._control)
                self._kill_orphans()

    def _on_swept(self, *, nothing_left: bool) -> None:
        for sweep in self._sweeps:
            if not sweep.done():
                sweep.set_result(nothing_left)
        self._sweeps.clear()

    def _kill_orphans(self) -> None:
        """Kill the processes that the reaper left, until there are none; then report the exit."""
        found = descendants(os.getpid()) - self._unrelated_pids
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        self._killed_pids |= found
        for pid in tuple(self._killed_pids):
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        # A process that is moving from one parent to another can be missed once.
        self._clean_scans = 0 if found else self._clean_scans + 1
        if self._clean_scans == CLEAN_SCANS:
            self._on_end("its reaper was killed")
            return
        if found and self._orphans_s >= ORPHANS_EVERY_S_MAX:
            log.error("processes of the worker do not end", extra={"pids": sorted(found)})
        self._loop.call_later(self._orphans_s, self._kill_orphans)
        if found:
            self._orphans_s = min(2 * self._orphans_s, ORPHANS_EVERY_S_MAX)

    def _on_end(self, how: str) -> None:
        # Deliver the worker's last messages before its exit.
        while self._read_link():
            pass
        if self._escalation is not None:
            self._escalation.cancel()
        self._close_sockets()
        self._on_swept(nothing_left=True)
        # Before waiting for the reaper's own exit: the release of the leader key depends on this.
        self._listener.on_exit(how)
        # The release has begun as a task, which runs before this.
        self._loop.call_soon(self._close)

    def _close(self) -> None:
        if self._trace is not None:
            self._stacks_to_log |= FATAL in stacks_text(self._trace.read())
            self._log_stacks()
            self._trace.close()
        self._collect_reaper()

    def _log_stacks(self) -> None:
        """Write the stacks that were dumped to the log, once."""
        if not self._stacks_to_log or self._trace is None:
            return
        if text := stacks_text(self._trace.read()):
            self._stacks_to_log = False
            log.warning("stacks of the worker: %s", f"\n{text}")

    def _collect_reaper(self) -> None:
        if self._reaper.poll() is None:
            self._loop.call_later(COLLECT_EVERY_S, self._collect_reaper)
        else:
            self._reaped.set()

    # -- the link ---------------------------------------------------------------------------------

    def _read_link(self) -> bool:
        try:
            received = self._link.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            received = b""
        if not received:
            self._loop.remove_reader(self._link)
            return False
        *lines, self._inbox = (self._inbox + received).split(b"\n")
        for line in lines:
            self._on_line(line)
        if len(self._inbox) > LINE_BYTES_MAX:
            log.error("a line without an end from the worker: killed", extra={"pid": self.pid})
            self._inbox = b""
            self.kill()
        return True

    def _on_line(self, line: bytes) -> None:
        try:
            message = from_worker(line)
        except UNREADABLE:
            # A bug of the guard or of the worker: such a worker must not lead.
            log.exception("unreadable line from the worker: killed", extra={"pid": self.pid})
            self.kill()
        else:
            self._listener.on_message(message)

    def _flush_outbox(self) -> None:
        try:
            sent = self._link.send(self._outbox)
        except BlockingIOError:
            sent = 0
        except OSError:
            # The worker closed the link. Its exit is reported by the reaper, not by this.
            sent = len(self._outbox)
        del self._outbox[:sent]
        if self._outbox:
            self._loop.add_writer(self._link, self._flush_outbox)
        else:
            self._loop.remove_writer(self._link)

    def _close_sockets(self) -> None:
        self._loop.remove_reader(self._control)
        self._loop.remove_reader(self._link)
        self._loop.remove_writer(self._link)
        self._control.close()
        self._link.close()


def exit_status_text(status: int) -> str:
    """Describe an exit status in words: ``exit status 3``, ``SIGKILL``."""
    if status >= 0:
        return f"exit status {status}"
    with contextlib.suppress(ValueError):
        return signal.Signals(-status).name
    return f"signal {-status}"

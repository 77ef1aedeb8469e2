"""The zygote: a single-threaded process that has imported what modules need, and forks.

A process forked from it is there in two milliseconds, shares its memory and has no thread, no
event loop and no gRPC that a fork would break. It does four things.

- On request it forks a process for a module and hands back its id and a descriptor of it (pidfd).
- It reaps those processes and reports how each ended.
- It is a *sub-reaper*, as is each process that it forks. What a module starts stays below the
  module's process however often it forks, and becomes a child of the zygote when that process ends.
  So every child that the zygote did not fork itself belongs to a process that has ended: it is
  killed before the end is reported.
- With a *deadline* it kills every process at that moment. If it cannot run by then, a kernel timer
  kills it, and the kernel then kills its children by their parent-death signal. So modules that act
  outside the store run below a zygote of their own (docs/adr/0049).

It ends with the worker: by the parent-death signal, and by the end of the control socket. Both
directions of that socket carry one message per packet, pickled plain values, with descriptors:

============================  ===================================================================
from the worker
``("fork", number)``          with the module's sockets and its memory. Answered by ``started``.
``("zygote", number)``        with a control socket: fork a zygote with a deadline.
``("until", ns)``             kill every process at that moment of ``CLOCK_BOOTTIME``; 0: never.
``("kill", pid)``             kill one process.
to the worker
``("ready", timed)``          it has imported everything; ``timed``: the kernel gives it timers.
``("started", number, pid)``  with a pidfd.
``("failed", number, why)``   the system refuses another process.
``("ended", pid, status)``    it and what it started are gone. ``status`` is as of
                              ``subprocess.Popen.returncode``.
``("expired", ns)``           the deadline has passed: all are being killed.
============================  ===================================================================
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import os
import select
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any, Final, NoReturn

from mgr.guard.reaper import KernelTimer
from mgr.module_process.messages import FDS_MAX, PACKET_BYTES_MAX, dumps, loads
from mgr.module_process.zygote_end import MODULE_NAME, ZYGOTE_NAME

SWEEPS_MAX: Final = 300
"""Scans for what an ended process left, a millisecond apart, before its end is reported anyway."""
SWEEP_EVERY_MS: Final = 1
PRELOADED: Final = (
    *("mgr_module", "mgr_util", "object_format", "ceph_argparse"),
    *("sqlite3", "http.server", "urllib.request", "xml.etree.ElementTree", "decimal", "statistics"),
)
"""What modules import: shared by all their processes, and not imported again in each."""
_exit: Final = os._exit
"""As it is before a forked process imports a module, which may replace it."""
_M_ARENA_MAX: Final = -8
_PR_SET_NAME: Final = 15
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_IGNORED: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Sent to a whole service by a terminal or an init system: the guard decides what follows."""

RunChild = Callable[[list[socket.socket], int], NoReturn]


class Zygote:
    """Serves one control socket until the worker closes it."""

    def __init__(self, control: socket.socket, run_child: RunChild, *, timed: bool) -> None:
        """Call ``run_child`` in each forked process. With ``timed`` it can have a deadline."""
        self._control = control
        self._run_child = run_child
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._pids: set[int] = set()
        self._timer = KernelTimer(self._libc) if timed else None
        self._until_ns = 0
        self._libc.prctl(_PR_SET_NAME, ZYGOTE_NAME)
        self._libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self._libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        self._wakeup_fd, self._wakeup_write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._wakeup_write_fd, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in _IGNORED:
            signal.signal(number, signal.SIG_IGN)

    def run(self) -> NoReturn:
        """Serve until the worker is gone; then kill everything and exit."""
        poll = select.poll()
        timer_fd = self._timer.fd if self._timer is not None else -1
        for fd in (self._control.fileno(), self._wakeup_fd, timer_fd):
            if fd >= 0:
                poll.register(fd, select.POLLIN)
        self._send(("ready", self._timer is None or self._timer.complete))
        while True:
            ready = {fd for fd, _ in poll.poll()}
            # The deadline first: a message that came meanwhile must not extend one that has passed.
            if timer_fd in ready and self._timer is not None and self._timer.expired():
                self._kill_all()
                # The second timer is for a zygote that does not get here.
                self._timer.arm(0)
                self._send(("expired", self._until_ns))
                self._until_ns = 0
            if self._wakeup_fd in ready:
                os.read(self._wakeup_fd, PACKET_BYTES_MAX)
                self._reap()
            if self._control.fileno() in ready:
                self._receive()

    def _receive(self) -> None:
        try:
            packet, fds, _, _ = socket.recv_fds(self._control, PACKET_BYTES_MAX, FDS_MAX)
        except OSError:
            packet, fds = b"", []
        if not packet:
            self._finish()
        try:
            self._on_message(*loads(packet), fds=fds)
        finally:
            for fd in fds:
                os.close(fd)

    def _on_message(self, name: str, value: int, *, fds: list[int]) -> None:
        if name == "until":
            self._until_ns = value
            if self._timer is not None:
                self._timer.arm(value)
        elif name == "kill":
            if value in self._pids:
                _kill(value)
        else:
            self._fork(value, fds, zygote=name == "zygote")

    def _fork(self, number: int, fds: list[int], *, zygote: bool) -> None:
        if self._timer is not None and not self._until_ns:
            self._send(("failed", number, "the deadline of the term has passed"))
            return
        try:
            pid = os.fork()
        except OSError as error:
            self._send(("failed", number, str(error)))
            return
        if pid == 0:
            self._become_child(fds, zygote=zygote)
        self._pids.add(pid)
        fd = os.pidfd_open(pid)
        try:
            self._send(("started", number, pid), [fd])
        finally:
            os.close(fd)

    def _become_child(self, fds: list[int], *, zygote: bool) -> NoReturn:
        """Turn this forked process into a module's, or into a zygote with a deadline."""
        try:
            parent = os.getppid()
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, *_IGNORED):
                signal.signal(number, signal.SIG_DFL)
            keep_only(fds)
            if zygote:
                child_zygote = Zygote(socket.socket(fileno=fds[0]), self._run_child, timed=True)
                if os.getppid() != parent:
                    os._exit(1)
                child_zygote.run()
            os.setsid()
            self._libc.prctl(_PR_SET_NAME, MODULE_NAME)
            self._libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
            self._libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:
                # The zygote ended before the kernel knew of the request: no signal would come.
                os._exit(1)
            self._run_child([socket.socket(fileno=fd) for fd in fds[:-1]], fds[-1])
        except BaseException:  # noqa: BLE001 - nothing may return into the zygote's loop
            sys.excepthook(*sys.exc_info())
        finally:
            _exit(1)

    def _reap(self) -> None:
        """Reap every ended child; report those that were forked here, once nothing is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            if pid in self._pids:
                self._pids.discard(pid)
                self._end_orphans()
                self._send(("ended", pid, os.waitstatus_to_exitcode(status)))

    def _end_orphans(self) -> None:
        """Kill what ended processes left behind. Ends of forked processes are seen by ``_reap``."""
        pause = select.poll()
        for _ in range(SWEEPS_MAX):
            orphans = children() - self._pids
            if not orphans:
                return
            for pid in orphans:
                _kill(pid)
            pause.poll(SWEEP_EVERY_MS)
            for pid in orphans:
                try:
                    os.waitpid(pid, os.WNOHANG)
                except ChildProcessError:
                    continue

    def _kill_all(self) -> None:
        for pid in self._pids:
            _kill(pid)

    def _finish(self) -> NoReturn:
        """Kill everything below, for the worker is gone, and exit."""
        self._kill_all()
        self._pids.clear()
        self._end_orphans()
        os._exit(0)

    def _send(self, message: tuple[Any, ...], fds: list[int] | None = None) -> None:
        try:
            socket.send_fds(self._control, [dumps(message)], fds or [])
        except OSError:
            return  # the worker is gone, which ``run`` sees next


def children() -> set[int]:
    """Return the processes whose parent is this one, ended ones included."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children", "rb", buffering=0) as file:
            return set(map(int, file.read().split()))
    except FileNotFoundError:
        return _children_by_stat()


def _children_by_stat() -> set[int]:
    """Return the same on a kernel without that list: costs as much as the host has processes."""
    found, own = set(), str(os.getpid()).encode()
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
        except OSError:
            continue
        if fields[1] == own:
            found.add(int(name))
    return found


def keep_only(fds: list[int]) -> None:
    """Close every descriptor but the standard ones and ``fds``."""
    for fd in map(int, os.listdir("/proc/self/fd")):
        if fd > 2 and fd not in fds:
            try:
                os.close(fd)
            except OSError:
                continue  # that of the listing itself


def share_one_arena() -> None:
    """Let all threads of the processes allocate from one heap: the interpreter runs one at a time.

    Each arena more would be memory of each process alone.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)


def serve(control: socket.socket) -> NoReturn:
    """Import what modules need, then fork on request. For a process without further threads."""
    from mgr import logs  # noqa: PLC0415 - imported in the zygote only, as what follows
    from mgr.module_process.child import run_child  # noqa: PLC0415 - as above
    from mgr.module_process.rehearsal import rehearse  # noqa: PLC0415 - as above

    for name in PRELOADED:
        importlib.import_module(name)
    # As most managers log, and every module's process after them.
    logs.set_up(level="info", form="text", manager="", component="worker")
    logs.protect()
    rehearse()
    share_one_arena()
    # Nothing of what is imported by now is ever garbage. Frozen, the collector does not write to
    # it, and its pages stay shared between all processes.
    gc.collect()
    gc.freeze()
    Zygote(control, run_child, timed=False).run()


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return

"""The reaper, parent process of one worker: kills it at its deadline, with all that it started.

Run as a program of its own, ``python -I -S reaper.py CONTROL_FD COMMAND...``, between the guard
and the worker. It imports little, holds no lock of the worker's and runs no module code, so that
neither a module that holds the interpreter nor a guard that is stopped can delay it.

- It is a *sub-reaper*: whatever the worker starts, however often that forks or changes its
  session, becomes a child of this process when its own parent ends. When the worker ends, all of
  them are killed, and the guard is informed when none of them can run any more.
- It does not wait for the kernel to free what they used, which takes a process of 100 MB about
  10 ms: a thread whose exit has begun never returns to its program (``has_ended``). The guard
  learns that memory and ports are free by the exit of this process.
- It kills the worker at the moment that the guard set last (``until``, on ``CLOCK_BOOTTIME``). If
  this process itself cannot run by then, a second kernel timer kills *it*, and the kernel then
  kills the worker by its parent-death signal. For the second timer no Python code has to run.
- When the guard ends, the control socket is closed, and this process kills everything and exits.

Both directions of the control socket carry one message per packet:

=====================  ==========================================================================
from the guard
``until <ns>``         kill the worker at that moment; 0: at none. Answered by ``armed`` if there
                       was no limit before.
``sweep``              kill what the worker started, not the worker. Answered by ``swept``, or by
                       ``unswept`` if something is still there after 0.3 s.
``dump``               let the worker write down the stacks of its threads.
``kill``               kill everything.
to the guard
``pid <pid>``          the worker was started; ``untimed`` follows if the kernel has no timers.
``gone <how> <code>``  nothing of the worker and of what it started runs any more. ``how`` is
                       ``exited`` or ``deadline``; ``code`` as of ``subprocess.Popen.returncode``.
                       This process exits when all of them are reaped.
=====================  ==========================================================================
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import socket
import struct
import sys
from collections.abc import Collection
from typing import Final, NoReturn

BACKSTOP_NS: Final = 20_000_000
"""How long after the deadline this process is killed if it did not act. The earliest successor
acts ``mgr.election.heartbeat.MARGIN_S`` after the deadline, which is more than twice as long."""
SWEEP_EVERY_MS: Final = 1
FINISH_EVERY_MS_MAX: Final = 100
"""The longest pause between two scans for what is still there; the first is ``SWEEP_EVERY_MS``."""
WATCH_EVERY_MS: Final = 1000
"""Pause between two tries to find a thread whose end can be watched."""
CLEAN_SCANS: Final = 3
"""So many scans in a row must find no process before none is regarded as left."""
SCANS_OF_AN_END: Final = 100
"""So often the threads of a worker are looked at, once one of them has ended."""
SWEEPS_MAX: Final = 300
"""The number of scans after which a sweep has failed."""
PACKET_BYTES_MAX: Final = 64
DUMP_SIGNAL: Final = signal.SIGUSR1

_FLAGS: Final = 6
_THREADS: Final = 17
_PENDING: Final = 28
_EXIT_CODE: Final = 49
"""Where ``/proc/<pid>/stat`` has them, counted from behind the name."""
_PF_EXITING: Final = 4
"""The flag of a thread whose exit has begun (``include/linux/sched.h``)."""
_SIGKILL_BIT: Final = 1 << (signal.SIGKILL - 1)
_PIDFD_THREAD: Final = os.O_EXCL
"""For a single thread, since Linux 6.9; before, the end of a worker is seen when it is reaped."""
_LISTS_CHILDREN: Final = os.path.exists(f"/proc/self/task/{os.getpid()}/children")
_CLOCK_BOOTTIME: Final = 7
_ABSOLUTE: Final = 1
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_TFD_FLAGS: Final = os.O_NONBLOCK | os.O_CLOEXEC
_SIGEVENT: Final = struct.pack("@Qii48x", 0, signal.SIGKILL, 0)
"""``struct sigevent`` with ``SIGEV_SIGNAL``."""
_IGNORED: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Sent to a whole service by a terminal or an init system: the guard decides what follows."""


class KernelTimer:
    """Two timers on ``CLOCK_BOOTTIME``: ``fd`` becomes readable, and a SIGKILL comes soon after."""

    def __init__(self, libc: ctypes.CDLL) -> None:
        """Create both, not armed. A timer that the kernel refuses is left out."""
        self._libc = libc
        self.fd: int = libc.timerfd_create(_CLOCK_BOOTTIME, _TFD_FLAGS)
        made = ctypes.c_void_p()
        event = ctypes.create_string_buffer(_SIGEVENT)
        try:
            self._timers = libc if hasattr(libc, "timer_create") else ctypes.CDLL("librt.so.1")
            refused = self._timers.timer_create(_CLOCK_BOOTTIME, event, ctypes.byref(made))
        except (OSError, AttributeError):
            refused = -1
        self._backstop = None if refused else made

    @property
    def complete(self) -> bool:
        """Whether both timers exist."""
        return self.fd >= 0 and self._backstop is not None

    def arm(self, until_ns: int) -> bool:
        """Expire at ``until_ns``, or never if that is 0; False if neither timer could be set."""
        soon, late = _absolute(until_ns), _absolute(until_ns and until_ns + BACKSTOP_NS)
        armed = self.fd >= 0 and not self._libc.timerfd_settime(self.fd, _ABSOLUTE, soon, None)
        if self._backstop is not None:
            armed |= not self._timers.timer_settime(self._backstop, _ABSOLUTE, late, None)
        return armed

    def expired(self) -> bool:
        """Whether the deadline has passed since this was last asked, or since ``arm``."""
        try:
            return bool(os.read(self.fd, 8))
        except BlockingIOError:
            return False  # it was armed again since


class Reaper:
    """One worker, from its start until nothing of it is left."""

    def __init__(self, control: socket.socket, timer: KernelTimer, worker: int) -> None:
        """Watch process ``worker`` on behalf of the guard behind ``control``."""
        self._control = control
        self._timer = timer
        self._worker = worker
        self._armed = False
        self._wakeup_fd = -1
        self._watched_fd = -1
        self._watches = True

    def run(self, wakeup_fd: int) -> NoReturn:
        """Serve until the worker is gone; ``wakeup_fd`` becomes readable when a child ends."""
        self._wakeup_fd = wakeup_fd
        poll = select.poll()
        for fd in (self._control.fileno(), wakeup_fd, self._timer.fd):
            if fd >= 0:
                poll.register(fd, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poll.poll(self._watch_a_thread(poll))}
            # The deadline first: a message that came meanwhile must not extend a deadline that
            # has passed.
            if self._timer.fd in ready and self._timer.expired():
                self._finish("deadline")
            if self._watched_fd in ready:
                self._on_thread_ended(poll)
            if wakeup_fd in ready:
                os.read(wakeup_fd, PACKET_BYTES_MAX)
                if self._reap():
                    self._finish("exited")
            if self._control.fileno() in ready:
                self._on_command(self._receive())

    def _receive(self) -> bytes:
        """The next packet; an empty one if the guard has ended, also with packets unread."""
        try:
            return self._control.recv(PACKET_BYTES_MAX)
        except OSError:
            return b""

    def _on_command(self, packet: bytes) -> None:
        message = packet.split()
        if not message or message[0] == b"kill":
            self._finish("exited")
        elif message[0] == b"until":
            self._arm(int(message[1]))
        elif message[0] == b"sweep":
            self._send("swept" if self._sweep() else "unswept")
        elif message[0] == b"dump":
            os.kill(self._worker, DUMP_SIGNAL)

    def _arm(self, until_ns: int) -> None:
        before, self._armed = self._armed, until_ns > 0
        armed = self._timer.arm(until_ns)
        if armed and self._armed and not before:
            self._send("armed")

    def _reap(self) -> bool:
        """Reap every ended child except the worker; return whether the worker has ended."""
        while True:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is None or ended.si_pid == self._worker:
                # The worker stays unreaped, so that its id still names its process group only.
                return ended is not None
            os.waitpid(ended.si_pid, 0)

    def _watch_a_thread(self, poll: select.poll) -> int | None:
        """Let ``poll`` wait for the end of the worker's oldest thread but its first.

        Returns after how many milliseconds to try again; None if it is watched or cannot be.
        """
        if not self._watches or self._watched_fd >= 0:
            return None
        try:
            threads = sorted(map(int, os.listdir(f"/proc/{self._worker}/task")))
            self._watched_fd = os.pidfd_open(threads[1], _PIDFD_THREAD)
        except (IndexError, ProcessLookupError, FileNotFoundError):
            return WATCH_EVERY_MS
        except OSError:
            self._watches = False  # the kernel is older or forbids it
            return None
        poll.register(self._watched_fd, select.POLLIN)
        return None

    def _on_thread_ended(self, poll: select.poll) -> None:
        # Of a killed process all threads end, at the same moment.
        if _ends(self._worker):
            self._finish("exited")
        poll.unregister(self._watched_fd)
        os.close(self._watched_fd)
        self._watched_fd = -1

    def _finish(self, how: str) -> NoReturn:
        """Kill everything, report when nothing runs any more, exit when all are reaped."""
        _kill_group(self._worker)
        _kill(self._worker)
        # The second timer is for a reaper that does not get here. Now it could only keep this one
        # from killing what has left the group.
        self._timer.arm(0)
        code: int | None = None
        reported, clean, pause_ms = False, 0, SWEEP_EVERY_MS
        pause = select.poll()
        pause.register(self._wakeup_fd, select.POLLIN)
        while True:
            try:
                while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                    if ended[0] == self._worker:
                        code = ended[1]
            except ChildProcessError:
                break
            clean = clean + 1 if self._kill_below() else 0
            if not reported and 0 < clean < CLEAN_SCANS:
                continue
            if not reported and clean and (shown := code or _exit_code(self._worker)):
                self._report(how, shown)
                reported = True
            if pause.poll(pause_ms):
                os.read(self._wakeup_fd, PACKET_BYTES_MAX)
            pause_ms = min(2 * pause_ms, FINISH_EVERY_MS_MAX)
        if not reported:
            self._report(how, code or 0)
        os._exit(0)

    def _kill_below(self, spared: Collection[int] = ()) -> bool:
        """Kill every process below this one; return whether all that were found have ended.

        Ask ``CLEAN_SCANS`` times: a process that is moving from one parent to another can be
        missed once.
        """
        found = _below(os.getpid()).difference(spared)
        for pid in found:
            _kill(pid)
        # Killed before they are looked at: none of them can start anything any more.
        return all(map(has_ended, found))

    def _report(self, how: str, status: int) -> None:
        """Tell the guard that nothing runs any more; ``status`` as of ``waitpid``."""
        self._send(f"gone {how} {os.waitstatus_to_exitcode(status)}")

    def _sweep(self) -> bool:
        pause = select.poll()
        clean = 0
        for _ in range(SWEEPS_MAX):
            clean = clean + 1 if self._kill_below(spared={self._worker}) else 0
            if clean == CLEAN_SCANS:
                return True
            if not clean:
                pause.poll(SWEEP_EVERY_MS)
            if self._reap():
                self._finish("exited")
        return False

    def _send(self, message: str) -> None:
        try:
            self._control.send(message.encode())
        except OSError:
            return  # the guard is gone, which ``run`` sees next


def has_ended(pid: int) -> bool:
    """Whether no thread of a process runs its program any more, nor ever will.

    That is so from the moment its exit begins in the kernel, which sets a flag: what follows frees
    its memory and closes its files. What it handed to the kernel before, such as data in the
    buffer of a connection, is sent as after any exit.
    """
    threads = _threads(pid)
    # A process of another user, started through a set-uid program, may be hidden (``hidepid``).
    return all(map(_exiting, threads)) if threads else not _exists(pid)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _ends(pid: int) -> bool:
    """Whether a process ends, so that ``has_ended`` will be true within a millisecond or so.

    The kernel lets a killed process end thread by thread. A thread that ends by itself is soon
    gone, and the others run on.
    """
    for _ in range(SCANS_OF_AN_END):
        threads = _threads(pid)
        if all(map(_exiting, threads)):
            return True
        if not any(int(fields[_PENDING]) & _SIGKILL_BIT for fields in threads):
            return False
    return False


def _exiting(thread: list[bytes]) -> bool:
    return thread[0] in b"ZX" or bool(int(thread[_FLAGS]) & _PF_EXITING)


def _threads(pid: int) -> list[list[bytes]]:
    """What ``/proc`` shows of each thread of a process (``_fields``); none if it is gone."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    return [fields for thread in threads if (fields := _fields(f"{pid}/task/{thread}"))]


def _exit_code(pid: int) -> int | None:
    """How a process that ends has ended, as of ``waitpid``; 0 or None if that is not shown yet."""
    fields = _fields(str(pid))
    return int(fields[_EXIT_CODE]) if len(fields) > _EXIT_CODE else None


def descendants(root: int) -> set[int]:
    """Every living process below ``root``.

    Zombies are left out, since they act no more; the living processes below them are included.
    """
    return {pid for pid in _below(root) if _stat(str(pid))[0] not in b"ZX"}


def _below(root: int) -> set[int]:
    """Every process below ``root``, zombies included."""
    below: set[int] = set()
    found = {root}
    while found:
        found = children_of(found) - below
        below |= found
    return below


def children_of(parents: set[int]) -> set[int]:
    """The processes whose parent is one of ``parents``: by the kernel's own lists, if it has them.

    They cost as much as ``parents`` have threads; the other way as much as the host has processes.
    """
    if not _LISTS_CHILDREN:
        names = [name for name in os.listdir("/proc") if name.isdecimal()]
        return {int(name) for name in names if _stat(name)[1] in parents}
    found: set[int] = set()
    for parent in parents:
        # A thread or a process that ends meanwhile gives its children to another one, where they
        # may be missed this time: whoever must be certain looks ``CLEAN_SCANS`` times.
        try:
            threads = os.listdir(f"/proc/{parent}/task")
        except OSError:
            continue
        for thread in threads:
            try:
                with open(f"/proc/{parent}/task/{thread}/children", "rb", buffering=0) as file:
                    found.update(map(int, file.read().split()))
            except OSError:
                continue
    return found


def _stat(pid: str) -> tuple[bytes, int]:
    """The state and the parent of a process; as of a zombie without one if it is gone."""
    fields = _fields(pid)
    if not fields:
        return b"X", 0
    # The first thread has ended and others run: not a zombie, although the state says so.
    state = b"S" if int(fields[_THREADS]) > 1 else fields[0]
    return state, int(fields[1])


def _fields(task: str) -> list[bytes]:
    """The fields of ``/proc/<task>/stat`` from behind the name; none if it is gone."""
    try:
        with open(f"/proc/{task}/stat", "rb", buffering=0) as file:
            return file.read().rpartition(b")")[2].split()
    except OSError:
        return []


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def _kill_group(leader: int) -> None:
    try:
        os.killpg(leader, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def _absolute(at_ns: int) -> ctypes.Array[ctypes.c_char]:
    """``struct itimerspec`` for one expiry at ``at_ns``."""
    seconds, rest = divmod(at_ns, 1_000_000_000)
    return ctypes.create_string_buffer(struct.pack("@4q", 0, 0, seconds, rest))


def become_subreaper(libc: ctypes.CDLL) -> None:
    """Inherit every process below this one whose own parent ends."""
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _start(libc: ctypes.CDLL, command: list[str]) -> int:
    """Start the worker in a process group of its own; its id."""
    pid = os.fork()
    if pid:
        return pid
    try:
        # What this process ignores the worker would inherit.
        for number in _IGNORED:
            signal.signal(number, signal.SIG_DFL)
        # On a busy machine the guard asks for its stacks before it has a handler for that.
        signal.signal(DUMP_SIGNAL, signal.SIG_IGN)
        os.setpgid(0, 0)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        os.execv(command[0], command)  # noqa: S606 - the guard names it
    finally:
        os._exit(127)


def main(arguments: list[str]) -> NoReturn:
    """Start the worker and watch it."""
    control = socket.socket(fileno=int(arguments[1]))
    control.set_inheritable(False)
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    libc = ctypes.CDLL(None, use_errno=True)
    become_subreaper(libc)
    timer = KernelTimer(libc)
    wakeup_fd, wakeup_write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wakeup_write_fd, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    worker = _start(libc, arguments[2:])
    control.send(f"pid {worker}".encode())
    if not timer.complete:
        control.send(b"untimed")
    Reaper(control, timer, worker).run(wakeup_fd)


if __name__ == "__main__":
    main(sys.argv)

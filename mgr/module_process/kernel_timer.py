"""A deadline that does not depend on this process: a timer descriptor, and a SIGKILL behind it."""

from __future__ import annotations

import ctypes
import os
import signal
import struct
from typing import Final

BACKSTOP_NS: Final = 20_000_000
"""How long after the deadline the kernel kills this process if it did not act by then; as in
``mgr.guard.reaper``, where the reason for the length stands."""
_CLOCK_BOOTTIME: Final = 7
_ABSOLUTE: Final = 1
_TFD_FLAGS: Final = os.O_NONBLOCK | os.O_CLOEXEC
_SIGEVENT: Final = struct.pack("@Qii48x", 0, signal.SIGKILL, 0)
"""``struct sigevent`` with ``SIGEV_SIGNAL``."""


class KernelTimer:
    """Two timers on ``CLOCK_BOOTTIME``: ``fd`` becomes readable, and a SIGKILL comes soon after.

    A timer that the kernel refuses is left out.
    """

    def __init__(self, libc: ctypes.CDLL) -> None:
        """Create both, not armed."""
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

    def arm(self, until_ns: int) -> None:
        """Expire at ``until_ns``, or never if that is 0."""
        if self.fd >= 0:
            self._libc.timerfd_settime(self.fd, _ABSOLUTE, _absolute(until_ns), None)
        if self._backstop is not None:
            late = _absolute(until_ns and until_ns + BACKSTOP_NS)
            self._timers.timer_settime(self._backstop, _ABSOLUTE, late, None)

    def expired(self) -> bool:
        """Whether the deadline has passed since this was last asked, or since ``arm``."""
        try:
            return bool(os.read(self.fd, 8))
        except BlockingIOError:
            return False  # it was armed again since


def _absolute(at_ns: int) -> ctypes.Array[ctypes.c_char]:
    """``struct itimerspec`` for one expiry at ``at_ns``."""
    seconds, rest = divmod(at_ns, 1_000_000_000)
    return ctypes.create_string_buffer(struct.pack("@4q", 0, 0, seconds, rest))

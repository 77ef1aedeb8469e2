"""Notify systemd of the state of the manager, if systemd started it (``Type=notify``)."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping


class Notifier:
    """Sends the messages of ``sd_notify``; does nothing without ``NOTIFY_SOCKET``."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        """Read the address of the socket and the interval of systemd's watchdog."""
        address = environment.get("NOTIFY_SOCKET", "")
        # "@" is how systemd writes the NUL with which an abstract address begins.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        limit_us = environment.get("WATCHDOG_USEC", "")
        self.watchdog_every_s = int(limit_us) / 2e6 if limit_us.isdecimal() else None
        """Interval of WATCHDOG messages: half of systemd's limit. None: send none."""

    def notify(self, *states: str) -> None:
        """Send lines such as ``READY=1``. Errors are ignored: systemd need not be listening."""
        if not self._address:
            return
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out,
        ):
            out.sendto("\n".join(states).encode(), socket.MSG_DONTWAIT, self._address)

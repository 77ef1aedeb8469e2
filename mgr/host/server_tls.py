"""The certificate with which gRPC and HTTP serve; its files are read again when they change."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from mgr.errors import InvalidSettingError
from mgr.settings import Settings
from mgr.tls import Tls
from mgr.waiting import wait

CHECK_EVERY_S: Final = 10.0
PURPOSE: Final = "TLS of gRPC and HTTP"

log = logging.getLogger(__name__)


class ServerTls:
    """The files named by ``tls_cert``, ``tls_key`` and ``tls_ca``.

    Connections that exist keep their certificate; the next handshake uses the new one. Files that
    do not fit together, for instance because only one was replaced yet, change nothing.
    """

    def __init__(self, tls: Tls) -> None:
        """Begin with ``tls``, read from files."""
        self.current = tls
        self._listeners: list[Callable[[Tls], None]] = []
        self._wake = asyncio.Event()
        self._trouble = ""

    @classmethod
    def of(cls, settings: Settings) -> ServerTls | None:
        """Read the files of ``settings``; None if it names no certificate.

        Raises:
            InvalidSettingError: A file cannot be read or used; the message names it.

        """
        if not settings.tls_cert:
            return None
        return cls(Tls.read(settings.tls_ca, settings.tls_cert, settings.tls_key, purpose=PURPOSE))

    def subscribe(self, listener: Callable[[Tls], None]) -> None:
        """Call ``listener`` on the loop with the new certificate after each change."""
        self._listeners.append(listener)

    def check_soon(self) -> None:
        """Check the files now, not at the next interval."""
        self._wake.set()

    async def follow(self) -> None:
        """Check the files periodically; never returns."""
        while True:
            await wait(self._wake, CHECK_EVERY_S)
            self._wake.clear()
            await self.check()

    async def check(self) -> None:
        """Read the files again, and use them if they changed."""
        try:
            # In a thread: a network file system may take seconds.
            tls = await asyncio.to_thread(self.current.read_again, purpose=PURPOSE)
        except InvalidSettingError as error:
            if self._trouble != str(error):
                self._trouble = str(error)
                log.warning("certificate files not usable", extra={"why": self._trouble})
            return
        self._trouble = ""
        if tls != self.current:
            self.current = tls
            log.info("certificate files read again", extra={"file": tls.cert_file})
            for listener in self._listeners:
                listener(tls)

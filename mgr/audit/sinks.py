"""Places outside etcd that keep the audit: a file, and syslog. They block; threads call them."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Sequence
from logging.handlers import SysLogHandler
from pathlib import Path
from typing import Final, Protocol

import msgspec

from mgr.clock import timestamp
from mgr.errors import InvalidSettingError

FILE: Final = "file"
SYSLOG: Final = "syslog"
IDENT: Final = "mgrd-audit: "
MODE: Final = 0o600


class Sink(Protocol):
    """Keeps lines."""

    name: str

    def write(self, lines: Sequence[str]) -> None:
        """Keep ``lines``, each of which is JSON without a newline.

        Raises:
            OSError: Some of them may be kept; they are given again.

        """
        ...


class FileSink:
    """Appends to a file that only its owner may read.

    The file is opened again when another one is at its path, so that logrotate may move it away
    and needs to signal nobody.
    """

    name = FILE

    def __init__(self, path: str, *, durable: bool) -> None:
        """Append to ``path``; ``durable``: every write is on the disk before it returns."""
        self._path = Path(path)
        self._durable = durable
        self._fd: int | None = None
        self._torn = False

    def write(self, lines: Sequence[str]) -> None:
        """Append ``lines``."""
        fd = self._open()
        data = memoryview("".join(f"{line}\n" for line in lines).encode(errors="backslashreplace"))
        if self._torn:
            # The last write ended within a line.
            os.write(fd, b"\n")
            self._torn = False
        while data:
            try:
                written = os.write(fd, data)
            except OSError:
                self.close()
                raise
            data = data[written:]
            self._torn = bool(data)
        if self._durable:
            os.fdatasync(fd)

    def _open(self) -> int:
        if self._fd is not None:
            ours = os.fstat(self._fd)
            try:
                found = self._path.stat()
            except FileNotFoundError:
                found = None
            if found is not None and (found.st_dev, found.st_ino) == (ours.st_dev, ours.st_ino):
                return self._fd
            self.close()
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        # Without waiting: a named pipe that nobody reads would block for ever.
        fd = os.open(self._path, flags | os.O_NONBLOCK, MODE)
        mode = os.fstat(fd).st_mode
        if not stat.S_ISREG(mode):
            os.close(fd)
            raise OSError(f"{self._path} is no regular file")
        if stat.S_IMODE(mode) & ~MODE:
            os.fchmod(fd, MODE)
        self._fd = fd
        return fd

    def close(self) -> None:
        """Close the file; the next write opens it again."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


class SyslogSink:
    """Sends to syslog, or to journald where that listens at ``/dev/log``."""

    name = SYSLOG

    def __init__(self, address: str) -> None:
        """Send to ``address``: a socket's path, or ``host:port`` by UDP."""
        self._address = syslog_address(address)
        self._handler: _RaisingHandler | None = None

    def write(self, lines: Sequence[str]) -> None:
        """Send ``lines``, one message each."""
        if self._handler is None:
            self._handler = _RaisingHandler(self._address, facility=SysLogHandler.LOG_AUTHPRIV)
            self._handler.ident = IDENT
            self._handler.append_nul = False
        for line in lines:
            record = logging.LogRecord("audit", logging.INFO, "", 0, line, None, None)
            try:
                self._handler.emit(record)
            except OSError:
                self.close()
                raise

    def close(self) -> None:
        """Close the socket; the next write opens it again."""
        if self._handler is not None:
            self._handler.close()
            self._handler = None


class _RaisingHandler(SysLogHandler):
    """A handler whose errors reach the caller."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802 - logging's name
        """Raise the error that ``emit`` caught."""
        raise  # noqa: PLE0704 - called while the error is handled


def syslog_address(text: str) -> str | tuple[str, int]:
    """Return the address in the setting ``audit_syslog``.

    Raises:
        InvalidSettingError: It is neither a path nor ``host:port``.

    """
    if text.startswith("/"):
        return text
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise InvalidSettingError(f"audit_syslog: {text!r} is neither a path nor host:port")
    return host.removeprefix("[").removesuffix("]"), int(port)


def configured_sinks(*, file: str, syslog: str, durable: bool) -> list[Sink]:
    """Return the sinks that the settings name; ``durable`` is about the file.

    Raises:
        InvalidSettingError: ``syslog`` is no address.

    """
    sinks: list[Sink] = []
    if file:
        sinks.append(FileSink(file, durable=durable))
    if syslog:
        sinks.append(SyslogSink(syslog))
    return sinks


def opened_line(manager: str) -> str:
    """Return the line with which a manager begins to use a sink."""
    line = {"at": timestamp(), "manager": manager, "event": "audit sink opened"}
    return msgspec.json.encode(line).decode()

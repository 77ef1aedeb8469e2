"""The TLS of a module's page, which follows its files: certificates are renewed while it is open.

Ours, not ceph-mgr's: a module that uses it does not load in ceph-mgr.
"""

from __future__ import annotations

import logging
import ssl
import threading
from pathlib import Path
from typing import Any, NamedTuple, Self

log = logging.getLogger(__name__)


class TlsFiles(NamedTuple):
    """Files in PEM of a server. With ``ca``, a client may present a certificate signed by it."""

    certificate: str
    key: str
    ca: str = ""


class ServedTls(ssl.SSLContext):
    """A context for servers whose connections each use the files as they are when it begins.

    Files that cannot be used then, perhaps because only one of them has been replaced yet, leave
    the last usable ones in use, and the log says so once. Thread-safe.
    """

    _files: TlsFiles
    _lock: threading.Lock
    _read_at: list[object]
    _current: ssl.SSLContext

    def __new__(cls, files: TlsFiles) -> Self:
        """Read ``files``.

        Raises:
            OSError: They cannot be used.

        """
        made = super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)
        made._files, made._lock = files, threading.Lock()
        made._read_at = _versions(files)
        made._current = _context(files)
        return made

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        """Begin a connection of an event loop."""
        return self._latest().wrap_bio(*args, **kwargs)

    def wrap_socket(self, *args: Any, **kwargs: Any) -> ssl.SSLSocket:
        """Begin a connection of a thread."""
        return self._latest().wrap_socket(*args, **kwargs)

    def _latest(self) -> ssl.SSLContext:
        with self._lock:
            now = _versions(self._files)
            if now != self._read_at:
                self._read_at = now
                try:
                    # A new one: a context keeps each CA that it was ever given.
                    self._current = _context(self._files)
                except OSError as error:
                    log.warning(
                        "certificate of a page not usable: the one before it stays in use",
                        extra={"file": self._files.certificate, "error": str(error)},
                    )
            return self._current


def _versions(files: TlsFiles) -> list[object]:
    """Return what changes when a file is written or replaced."""
    found: list[object] = []
    for path in filter(None, files):
        try:
            stat = Path(path).stat()
        except OSError as error:
            found.append(error.errno)
        else:
            found.append((stat.st_mtime_ns, stat.st_ino, stat.st_size))
    return found


def _context(files: TlsFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Without a password given, OpenSSL would ask for one on the terminal.
    context.load_cert_chain(files.certificate, files.key, password="")
    if files.ca:
        context.load_verify_locations(files.ca)
        # Optional: a browser without a certificate signs in with a token.
        context.verify_mode = ssl.CERT_OPTIONAL
    return context

"""The TLS of a module's page, which follows its files: certificates are renewed while it is open.

Ours, not ceph-mgr's: a module that uses it does not load in ceph-mgr.
"""

from __future__ import annotations

import logging
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

AGAIN_S: Final = 5.0
"""Files that could not be used are read again after so long, also if they seem unchanged."""

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

    Every connection has a context that was made of the files, so what is set on this object would
    have no effect: it refuses, and ``configure`` is given each context instead.
    """

    _files: TlsFiles
    _configure: Callable[[ssl.SSLContext], object]
    _lock: threading.Lock
    _versions: list[object]
    _again_at_s: float
    _trouble: str
    _current: ssl.SSLContext

    def __new__(
        cls, files: TlsFiles, configure: Callable[[ssl.SSLContext], object] = lambda _: None
    ) -> Self:
        """Read ``files``; ``configure`` may set more on each context that is made of them.

        Raises:
            OSError: They cannot be used.

        """
        made = super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)
        made._files, made._configure, made._lock = files, configure, threading.Lock()
        made._versions, made._again_at_s, made._trouble = _versions(files), 0.0, ""
        made._current = made._made()
        return made

    def __setattr__(self, name: str, value: object) -> None:
        """Refuse what would have no effect."""
        if not name.startswith("_"):
            self._refuse()
        super().__setattr__(name, value)

    def _refuse(self, *_: Any, **__: Any) -> None:
        raise TypeError("connections use other contexts: set that by the argument configure")

    load_cert_chain = load_verify_locations = load_default_certs = _refuse
    set_alpn_protocols = set_npn_protocols = set_ciphers = set_default_verify_paths = _refuse
    set_servername_callback = load_dh_params = set_ecdh_curve = _refuse

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        """Begin a connection of an event loop."""
        return self._latest().wrap_bio(*args, **kwargs)

    def wrap_socket(self, *args: Any, **kwargs: Any) -> ssl.SSLSocket:
        """Begin a connection of a thread; or wrap a socket that listens."""
        made = self._latest().wrap_socket(*args, **kwargs)
        if made._sslobj is None:  # type: ignore[attr-defined]  # noqa: SLF001 - it is not connected
            # What it accepts is wrapped by its context: that is to be the latest then.
            made._context = self  # type: ignore[attr-defined]  # noqa: SLF001 - as above
        return made

    def _latest(self) -> ssl.SSLContext:
        now_s = time.monotonic()  # noqa: TID251 - a module has no other clock
        with self._lock:
            versions = _versions(self._files)
            again = self._trouble and now_s >= self._again_at_s
            if versions != self._versions or again:
                self._versions = versions
                self._read(now_s)
            return self._current

    def _read(self, now_s: float) -> None:
        try:
            self._current, self._trouble = self._made(), ""
        except OSError as error:
            self._again_at_s = now_s + AGAIN_S
            if str(error) != self._trouble:
                self._trouble = str(error)
                log.warning(
                    "certificate of a page not usable: the one before it stays in use",
                    extra={"file": self._files.certificate, "error": self._trouble},
                )

    def _made(self) -> ssl.SSLContext:
        # A new one: a context keeps each CA that it was ever given.
        context = _context(self._files)
        self._configure(context)
        return context


def _versions(files: TlsFiles) -> list[object]:
    """Return what changes when a file is written or replaced."""
    found: list[object] = []
    for path in filter(None, files):
        try:
            stat = Path(path).stat()
        except OSError as error:
            found.append(error.errno)
        else:
            found.append((stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_size))
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

"""Certificates, as files name them: who we are, and by whom others must be vouched for."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path

from mgr.errors import InvalidSettingError


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM texts. With ``cert`` and ``key`` we show who we are.

    An empty ``ca``: a client trusts the authorities that gRPC comes with, a server asks nobody.
    """

    ca: bytes = b""
    cert: bytes = b""
    key: bytes = field(default=b"", repr=False)

    @classmethod
    def read(cls, ca: str, cert: str = "", key: str = "", *, purpose: str = "TLS") -> Tls:
        """Read the three files; an empty name is an empty text.

        Raises:
            InvalidSettingError: A file cannot be read; the message begins with ``purpose``.

        """
        try:
            texts = [Path(name).read_bytes() if name else b"" for name in (ca, cert, key)]
        except OSError as error:
            raise InvalidSettingError(f"{purpose}: {error}") from None
        return cls(*texts)


def check_pair(cert: str, key: str) -> None:
    """See that the two files can be served with.

    Raises:
        InvalidSettingError: One cannot be read, or the key is not the certificate's.

    """
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as error:
        raise InvalidSettingError(f"tls_cert {cert}, tls_key {key}: {error}") from None

"""Load certificates from files: our own one, and the CA that must have signed the peer's."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path

from mgr.errors import InvalidSettingError


@dataclass(frozen=True, slots=True)
class Tls:
    """Certificates and key as PEM texts. With ``cert`` and ``key`` we present a certificate.

    With an empty ``ca``, a client trusts the authorities that gRPC comes with, and a server
    requests no client certificates.
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
    """Check that a server can use the two files.

    Raises:
        InvalidSettingError: One cannot be read, or the key does not belong to the certificate.

    """
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as error:
        raise InvalidSettingError(f"tls_cert {cert}, tls_key {key}: {error}") from None

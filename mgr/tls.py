"""Load certificates from files: our own one, and the CA that must have signed the peer's."""

from __future__ import annotations

import ssl
import stat
from dataclasses import dataclass, field, replace
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
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    token: str = field(default="", repr=False)
    """A token to show instead of a certificate, or beside it; for clients only."""
    token_file: str = ""

    @classmethod
    def read(cls, ca: str, cert: str = "", key: str = "", *, purpose: str = "TLS") -> Tls:
        """Read the three files; an empty name is an empty text.

        Raises:
            InvalidSettingError: A file cannot be read or used; the message begins with
                ``purpose``.

        """
        try:
            texts = [Path(name).read_bytes() if name else b"" for name in (ca, cert, key)]
        except OSError as error:
            raise InvalidSettingError(f"{purpose}: {error}") from None
        _check(ca, cert, key, purpose)
        return cls(texts[0], texts[1], texts[2], ca_file=ca, cert_file=cert, key_file=key)

    def read_again(self, *, purpose: str = "TLS") -> Tls:
        """Read the files again; without files, the same texts are returned.

        Raises:
            InvalidSettingError: A file cannot be read, or they do not fit together, for instance
                because only one of them has been replaced yet.

        """
        if not (self.ca_file or self.cert_file):
            return self
        again = self.read(self.ca_file, self.cert_file, self.key_file, purpose=purpose)
        return again.with_token(self.token_file, purpose=purpose) if self.token_file else again

    def with_token(self, file: str, *, purpose: str = "TLS to the managers") -> Tls:
        """Return the same with the token that stands in ``file``.

        Raises:
            InvalidSettingError: It cannot be read, holds no token, or everybody may read it.

        """
        try:
            text = Path(file).read_text(encoding="ascii").strip()
            mode = Path(file).stat().st_mode
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidSettingError(
                f"{purpose}: cannot read the token in {file}: {error}"
            ) from None
        if mode & stat.S_IRWXO:
            raise InvalidSettingError(
                f"{purpose}: {file} is open to everybody on this host: chmod o= {file}"
            )
        if not text or not text.isprintable() or " " in text:
            raise InvalidSettingError(f"{purpose}: {file} holds no token: see 'auth token create'")
        return replace(self, token=text, token_file=file)


def _check(ca: str, cert: str, key: str, purpose: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if ca:
            context.load_verify_locations(ca)
    except (OSError, ssl.SSLError):
        raise InvalidSettingError(f"{purpose}: {ca} has no certificate in PEM form") from None
    try:
        if cert and key:
            # Without the password, OpenSSL would ask for one on the terminal.
            context.load_cert_chain(cert, key, password=lambda: b"")
    except (OSError, ssl.SSLError) as error:
        raise InvalidSettingError(f"{purpose}: {cert} and {key}: {_reason(error)}") from None


def _reason(error: OSError) -> str:
    """Return what is wrong with a certificate and its key, in words."""
    reason = getattr(error, "reason", None) or str(error)
    if reason == "KEY_VALUES_MISMATCH":
        return "the key does not belong to the certificate"
    if reason in {"BAD_DECRYPT", "BAD_PASSWORD_READ"}:
        return "the key is encrypted: store it without a password"
    return f"not a certificate and a key in PEM form ({reason.replace('_', ' ').lower()})"


def check_pair(cert: str, key: str) -> None:
    """Check that a server can use the two files.

    Raises:
        InvalidSettingError: One cannot be read, or the key does not belong to the certificate.

    """
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as error:
        raise InvalidSettingError(f"tls_cert {cert}, tls_key {key}: {error}") from None

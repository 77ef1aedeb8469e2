"""Load certificates from files: our own one, and the CA that must have signed the peer's."""

from __future__ import annotations

import contextlib
import os
import ssl
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from mgr.errors import InvalidSettingError, why

CA_FILE: Final = "ca.crt"
"""In a folder made by ``mgrd init`` or by joining: the CA's certificate."""
MANAGER_FILE: Final = "manager.pem"
"""There: a manager's certificate and private key, in one file, so that both change at once."""
CLIENT_FILE: Final = "client.pem"
"""There: the same of a client, daemon or agent."""
PASSPHRASE_FILE: Final = "ca.passphrase"  # noqa: S105 - a name, not a secret
"""There, of a signer only: opens the CA's key that the store has."""
OTHERS: Final = stat.S_IRWXO


@dataclass(frozen=True, slots=True)
class Tls:
    """Certificates and key as PEM texts. With ``cert`` and ``key`` we present a certificate.

    With an empty ``ca``, a client trusts the authorities that gRPC comes with, and a server
    requests no client certificates. ``cert_file`` and ``key_file`` may be the same file.

    Attributes:
        renews: The files were made by joining, so that a long-lived client renews them.

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
    renews: bool = False

    @classmethod
    def read(cls, ca: str, cert: str = "", key: str = "", *, purpose: str = "TLS") -> Tls:
        """Read the three files; an empty name is an empty text.

        Raises:
            InvalidSettingError: A file cannot be read or used; the message begins with
                ``purpose``.

        """
        try:
            # Each file once: one that has certificate and key may be replaced meanwhile.
            texts = {name: Path(name).read_bytes() if name else b"" for name in (ca, cert, key)}
        except OSError as error:
            file = f"cannot read {error.filename}: " if error.filename else ""
            raise InvalidSettingError(f"{purpose}: {file}{why(error)}") from None
        read = cls(texts[ca], texts[cert], texts[key], ca_file=ca, cert_file=cert, key_file=key)
        _check(read, purpose)
        return read

    def load_into(self, context: ssl.SSLContext) -> None:
        """Let ``context`` present this certificate from now on, also if it is in use.

        Raises:
            ssl.SSLError: Certificate and key do not fit together.

        """
        # From memory, not from the files, which may be others by now.
        with _as_file(self.cert) as cert, _as_file(self.key) as key:
            # Without the password, OpenSSL would ask for one on the terminal.
            context.load_cert_chain(cert, key, password=lambda: b"")

    def server_context(self, verify: ssl.VerifyMode) -> ssl.SSLContext:
        """Return what a server of ours presents, and whom it trusts: no CA but this one.

        A context keeps each CA that it was given, so one that is replaced needs a new context.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.load_into(context)
        context.verify_mode = verify
        if verify is not ssl.CERT_NONE:
            with _as_file(self.ca) as ca:
                context.load_verify_locations(ca)
        return context

    @classmethod
    def from_folder(cls, folder: str, *, purpose: str = "TLS to the managers") -> Tls:
        """Read what a client got by joining (``mgr.client.join``) from its folder.

        Raises:
            InvalidSettingError: There is nothing, or it cannot be used; or others than the owner
                and the group may read the key.

        """
        cert = Path(folder, CLIENT_FILE)
        if not cert.exists():
            raise InvalidSettingError(f"{purpose}: there is no {cert}: join first")
        if loose := loose_key(str(cert)):
            raise InvalidSettingError(f"{purpose}: {loose}")
        read = cls.read(str(Path(folder, CA_FILE)), str(cert), str(cert), purpose=purpose)
        return replace(read, renews=True)

    def read_again(self, *, purpose: str = "TLS") -> Tls:
        """Read the files again; without files, the same texts are returned.

        Raises:
            InvalidSettingError: A file cannot be read, or they do not fit together, for instance
                because only one of them has been replaced yet.

        """
        if not (self.ca_file or self.cert_file):
            return self
        again = self.read(self.ca_file, self.cert_file, self.key_file, purpose=purpose)
        again = replace(again, renews=self.renews)
        return again.with_token(self.token_file, purpose=purpose) if self.token_file else again

    def with_token(self, file: str, *, purpose: str = "TLS to the managers") -> Tls:
        """Return the same with the token that stands in ``file``.

        Raises:
            InvalidSettingError: It cannot be read, holds no token, or everybody may read it.

        """
        try:
            text = Path(file).read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidSettingError(
                f"{purpose}: cannot read the token in {file}: {why(error)}"
            ) from None
        if loose := loose_key(file):
            raise InvalidSettingError(f"{purpose}: {loose}")
        if not text or not text.isprintable() or " " in text:
            raise InvalidSettingError(f"{purpose}: {file} holds no token: see 'auth token create'")
        return replace(self, token=text, token_file=file)


@contextlib.contextmanager
def _as_file(text: bytes) -> Iterator[str]:
    """Give ``text`` the name of a file in memory, since OpenSSL takes certificates by name only."""
    with os.fdopen(os.memfd_create("tls"), "wb") as file:
        file.write(text)
        file.flush()
        yield f"/proc/self/fd/{file.fileno()}"


def _check(tls: Tls, purpose: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if tls.ca_file:
            with _as_file(tls.ca) as ca:
                context.load_verify_locations(ca)
    except (OSError, ssl.SSLError):
        raise InvalidSettingError(
            f"{purpose}: {tls.ca_file} has no certificate in PEM form"
        ) from None
    try:
        if tls.cert_file and tls.key_file:
            tls.load_into(context)
    except (OSError, ssl.SSLError) as error:
        raise InvalidSettingError(
            f"{purpose}: {tls.cert_file} and {tls.key_file}: {_reason(error)}"
        ) from None


def _reason(error: OSError) -> str:
    """Return what is wrong with a certificate and its key, in words."""
    reason = getattr(error, "reason", None) or str(error)
    if reason == "KEY_VALUES_MISMATCH":
        return "the key does not belong to the certificate"
    if reason in {"BAD_DECRYPT", "BAD_PASSWORD_READ"}:
        return "the key is encrypted: store it without a password"
    return f"not a certificate and a key in PEM form ({reason.replace('_', ' ').lower()})"


def loose_key(file: str) -> str:
    """Return an error text if everybody on this host may read or write ``file``, else empty.

    The group is allowed: orchestrators mount secrets so.
    """
    try:
        mode = Path(file).stat().st_mode
    except OSError:
        return ""
    return f"{file} is open to everybody on this host: chmod o= {file}" if mode & OTHERS else ""

"""What a signer signs, and for whom (docs/adr/0069).

A *signer* is a manager that has the passphrase of the CA's key. Another one that leads asks a
signer for each signature. The signer looks by itself whether etcd allows it: a join token that is
not used up, or a certificate of the CA whose name still has capabilities.
"""

from __future__ import annotations

import datetime as dt
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from cryptography import x509

from mgr.clock import CLOCK
from mgr.errors import NotAuthorizedError, NotPermittedError
from mgr.log_throttle import LogThrottle
from mgr.pki.authority import (
    Authority,
    Subject,
    check_subject_name,
    common_name,
    has_signed,
    key_digest,
    load_certificate,
)
from mgr.pki.join_token import MANAGER_PREFIX, JoinToken, decode_token
from mgr.pki.sealed_authority import SealedAuthority
from mgr.pki.subject import addresses_of
from mgr.pki.token_text import hash_of
from mgr.store.api import Reader, Record
from mgr.store.keys import Keys

NOT_VALID: Final = (
    "this join token is unknown, used or expired: make another one with "
    "'mgrctl auth join-token create'"
)
"""One text for all reasons: it tells a stranger nothing about the tokens that exist."""
TOKEN_ID: Final = re.compile(r"[0-9a-f]{16}")
NO_TOKEN: Final = JoinToken(
    secret_hash=hash_of(""), profile="client", name="", expires_at="1970-01-01T00:00:00+00:00"
)

log = logging.getLogger(__name__)
_throttle: Final = LogThrottle(CLOCK.now)


@dataclass(frozen=True, slots=True)
class SigningOrder:
    """What is to be signed, and what entitles to it: a join token, or a present certificate.

    Attributes:
        request: The certificate signing request; only its public key is used.
        name: The name that the certificate shall have.
        addresses: For a manager that joins: the addresses of its servers.
        token_id: The join token's id; empty for a renewal.
        secret: The join token's secret.
        presented: The certificate that is to be renewed, in PEM form; empty for a join.
        proof: A signature of ``request`` by the key of ``presented``; see ``LocalSigner.sign``.

    """

    request: bytes
    name: str
    addresses: tuple[str, ...] = ()
    token_id: str = ""
    secret: str = field(default="", repr=False)
    presented: bytes = b""
    proof: bytes = b""


class Signer(Protocol):
    """Signs certificates: with the key, or by asking a manager that has it."""

    async def sign(self, order: SigningOrder) -> str:
        """Return the new certificate and the CA's, in PEM form.

        Raises:
            NotAuthorizedError: The token or the certificate in ``order`` does not entitle to it.
            NotPermittedError: It is not for this name, or the cluster has no CA that signs.
            UnreachableError: No signer runs at the moment.
            InvalidArgumentError: The request is malformed.
            InvalidSettingError: The passphrase of the CA's key cannot be used.

        """
        ...


class ManagerSigner(Signer, Protocol):
    """Signs for this manager, and for others if it has the CA's passphrase."""

    async def is_here(self) -> bool:
        """Return whether this manager has the passphrase of the CA's key: it is a signer."""
        ...

    async def sign_here(self, order: SigningOrder) -> str:
        """As ``sign``, but with the key on this manager or not at all."""
        ...

    async def renew_own(self, request: bytes) -> str:
        """Have this manager's own next certificate signed by another manager."""
        ...


class LocalSigner:
    """Signs with the CA's key. Checks each order by what the mirror shows."""

    def __init__(self, sealed: SealedAuthority, lifetime_s: Callable[[], float]) -> None:
        """Open the key at the first use; certificates are valid for ``lifetime_s`` seconds."""
        self._sealed = sealed
        self._lifetime_s = lifetime_s
        self._authority: Authority | None = None

    async def sign(self, order: SigningOrder) -> str:
        """See ``Signer``."""
        mirror, keys = self._sealed.mirror, self._sealed.keys
        if order.presented:
            ca = load_certificate(self._sealed.record().certificate)
            subject = renewed_subject(mirror, keys, ca, order.presented)
        else:
            _, token = find_token(mirror, keys, order.token_id, order.secret)
            subject = joining_subject(token, order)
            check_not_running(mirror, keys, subject)
        if self._authority is None:
            self._authority = await self._sealed.open()
        lifetime = dt.timedelta(seconds=self._lifetime_s())
        return self._authority.sign(order.request, subject, lifetime)


def find_token(mirror: Reader, keys: Keys, ident: str, secret: str) -> tuple[Record, JoinToken]:
    """Return the join token with this id and secret, which may be used already.

    Raises:
        NotAuthorizedError: There is none, or not any more.

    """
    valid = TOKEN_ID.fullmatch(ident) is not None
    record = mirror.get(keys.join_token(ident)) if valid else None
    token = decode_token(record.value) if record is not None else None
    # Compared also if there is none: the time of the answer tells nothing.
    known = (token or NO_TOKEN).has_secret(secret)
    if record is None or token is None or not known or token.expired():
        # One line for all: anybody who reaches the port can cause them as fast as it likes.
        if times := _throttle.due("refused"):
            fields = {"token": ident[:64], "times": times}
            log.warning("join refused: the token is not valid", extra=fields)
        raise NotAuthorizedError(NOT_VALID)
    return record, token


def joining_subject(token: JoinToken, order: SigningOrder) -> Subject:
    """Return what a certificate for ``token`` says.

    Raises:
        NotAuthorizedError: The token was used for another name or key.
        NotPermittedError: The token is not for this name.
        InvalidArgumentError: The name or the request is malformed.

    """
    name = check_subject_name(order.name)
    if not token.admits(name):
        raise NotPermittedError(
            f"this join token is for {token.profile}s named '{token.name}', not for '{name}'"
        )
    if token.used_key and (token.used_key, token.used_for) != (key_digest(order.request), name):
        raise NotAuthorizedError(NOT_VALID)
    manager = token.profile == "manager"
    return Subject(name, server=manager, addresses=order.addresses if manager else ())


def check_not_running(mirror: Reader, keys: Keys, subject: Subject) -> None:
    """Check that no manager runs whose name a token would give to another one.

    Raises:
        NotPermittedError: One does.

    """
    if subject.server and mirror.get(presence_of(keys, subject.name)) is not None:
        raise NotPermittedError(
            f"'{subject.name}' runs: stop it before a manager joins under its name, or join under "
            "another one"
        )


def presence_of(keys: Keys, name: str) -> str:
    """Return the key that exists while the manager runs whose certificate has ``name``."""
    return keys.manager(name.removeprefix(MANAGER_PREFIX))


def renewed_subject(mirror: Reader, keys: Keys, ca: x509.Certificate, presented: bytes) -> Subject:
    """Return what the certificate says that takes the place of ``presented``: the same.

    Raises:
        NotAuthorizedError: It is not of this cluster's CA, or its name has no capabilities.

    """
    certificate = load_certificate(presented)
    name = common_name(certificate)
    if not has_signed(ca, certificate) or not name:
        raise NotAuthorizedError("this certificate was not signed by the cluster's CA")
    if mirror.get(keys.access_of(name)) is None:
        raise NotAuthorizedError(
            f"client '{name}' has no capabilities of its own: its certificate is not renewed"
        )
    manager = name.startswith(MANAGER_PREFIX)
    # A manager's addresses stay those with which it joined: otherwise one of them could get a
    # certificate for the address of another.
    return Subject(name, server=manager, addresses=addresses_of(certificate) if manager else ())

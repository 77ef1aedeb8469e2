"""Tokens: what people and scripts present instead of a certificate.

A token is ``<id>.<secret>``. The id is the name of its record in etcd; the record has the SHA-256
of the secret only. A slow hash is not needed: the secret has 256 random bits, so that nobody can
try them all, and every request would pay for it (docs/adr/0052).
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import secrets
from collections.abc import Iterator
from typing import Final

import msgspec

from mgr.access.identity import Caller, Identity, Kind
from mgr.clock import timestamp, wall_s
from mgr.errors import NotAuthenticatedError
from mgr.store.api import UNREADABLE, Reader, Record
from mgr.store.keys import Keys

BEARER: Final = "Bearer "
FORM: Final = re.compile(r"([a-z0-9]{12})\.([A-Za-z0-9_-]{43})")
ID_BYTES: Final = 6
SECRET_BYTES: Final = 32
TOKENS_MAX: Final = 10_000
"""Most tokens of a cluster: every manager has their records in memory."""

log = logging.getLogger(__name__)


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """The record of one token, in etcd under its id.

    Attributes:
        name: The name of whoever presents it: the identity ``token:<name>``.
        digest: The SHA-256 of its secret, in hexadecimal digits.
        expires_s: When it ends, as wall time since 1970.
        created_at: Wall time in ISO 8601, for people.
        created_by: Who made it, for people.

    """

    name: str
    digest: str
    expires_s: float
    created_at: str = ""
    created_by: str = ""

    @property
    def identity(self) -> Identity:
        """The identity of whoever presents it."""
        return Identity(Kind.TOKEN, self.name)


def new_token(name: str, *, lifetime_s: float, by: str) -> tuple[str, str, Token]:
    """Make a token that ends in ``lifetime_s`` seconds; return its id, its text and its record."""
    ident = secrets.token_hex(ID_BYTES)
    secret = secrets.token_urlsafe(SECRET_BYTES)
    record = Token(
        name=name,
        digest=_digest(secret),
        expires_s=wall_s() + lifetime_s,
        created_at=timestamp(),
        created_by=by,
    )
    return ident, f"{ident}.{secret}", record


def encode(token: Token) -> str:
    """Encode the record of a token as the store holds it."""
    return msgspec.json.encode(token).decode()


class Tokens:
    """The tokens of the cluster, read from the mirror. Any thread may call it."""

    def __init__(self, mirror: Reader, keys: Keys) -> None:
        """Read the records from ``mirror``."""
        self._mirror = mirror
        self._keys = keys

    def authenticate(self, authorization: str, address: str) -> Caller:
        """Return the caller that sent the header ``authorization`` from ``address``.

        Raises:
            NotAuthenticatedError: It is no valid token. The message does not say what is wrong
                with it, unless it has expired.

        """
        scheme, _, presented = authorization.partition(" ")
        found = FORM.fullmatch(presented.strip()) if scheme.lower() == "bearer" else None
        if found is None:
            raise NotAuthenticatedError(
                "the authorization is not of the form 'Bearer <id>.<secret>': see 'auth token "
                "create'"
            )
        ident, secret = found.groups()
        token = self.find(ident)
        if not hmac.compare_digest(_digest(secret), token.digest if token else _NOBODY):
            raise NotAuthenticatedError(
                "this token is not valid: it was removed, or is of another cluster"
            )
        if token is None:
            raise AssertionError("no secret has the digest of nobody")
        if token.expires_s <= wall_s():
            raise NotAuthenticatedError("this token has expired: 'auth token create' makes another")
        return Caller(token.name, address, Kind.TOKEN, expires_s=token.expires_s, token_id=ident)

    def find(self, ident: str) -> Token | None:
        """Return the token with the id ``ident``; None if there is none, or it is unreadable."""
        record = self._mirror.get(self._keys.token(ident))
        return _decode(record) if record is not None else None

    def all(self) -> Iterator[tuple[str, Token]]:
        """Yield each token with its id, expired ones included."""
        for key, record in self._mirror.list(self._keys.tokens).items():
            if (token := _decode(record)) is not None:
                yield key.removeprefix(self._keys.tokens), token


_NOBODY: Final = "0" * 64


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _decode(record: Record) -> Token | None:
    try:
        return msgspec.json.decode(record.value, type=Token)
    except UNREADABLE as error:
        log.warning("unreadable token", extra={"key": record.key, "error": str(error)})
        return None

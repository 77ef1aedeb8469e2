"""Join tokens: who has one may exchange it, once and soon, for a certificate."""

from __future__ import annotations

import datetime as dt
import hmac
import re
import secrets
from typing import Final, Literal

import msgspec

from mgr.clock import utc_now
from mgr.errors import InvalidArgumentError
from mgr.pki.authority import check_subject_name
from mgr.pki.token_text import TokenText, hash_of
from mgr.store.api import UNREADABLE

Profile = Literal["manager", "daemon", "client"]
PROFILES: Final[tuple[Profile, ...]] = ("manager", "daemon", "client")

LIFETIME_S: Final = 15 * 60
LIFETIME_S_MAX: Final = 7 * 24 * 3600
MANAGER_PREFIX: Final = "mgr."
"""The certificate of manager ``a`` is called ``mgr.a``; no daemon has such a name."""
_PATTERN: Final = re.compile(r"[A-Za-z0-9@_.:*-]{1,64}")


class JoinToken(msgspec.Struct, frozen=True, kw_only=True):
    """What the store keeps of a token; its secret is not part of it.

    Attributes:
        secret_hash: SHA-256 of the secret. The secret has 256 random bits, so a slow hash would
            protect it no better.
        name: The name that the certificate may get; ``*`` stands for any characters.
        expires_at: Wall time in ISO 8601. The lease of the record ends at the same time.
        created_by: The client that made it.
        signer: The manager also gets the passphrase of the CA's key, so that it can sign.
        used_for: The name that was given; empty while it is not used.
        used_key: Digest of the public key that was signed.
        certificate: What was answered, for a repetition of the call whose answer was lost.

    """

    secret_hash: str
    profile: Profile
    name: str
    expires_at: str
    created_by: str = ""
    signer: bool = False
    used_for: str = ""
    used_key: str = ""
    certificate: str = ""

    def expired(self) -> bool:
        """Whether its time is over by this host's clock."""
        return dt.datetime.fromisoformat(self.expires_at) < utc_now()

    def has_secret(self, secret: str) -> bool:
        """Whether ``secret`` is its secret; takes the same time whatever it is."""
        return hmac.compare_digest(self.secret_hash, hash_of(secret))

    def admits(self, name: str) -> bool:
        """Whether a certificate for ``name`` may be signed for it."""
        return _matches(self.name, name) and _fits(self.profile, name)


def new_token(
    profile: str,
    name: str,
    *,
    pin: str,
    lifetime_s: float,
    created_by: str = "",
    signer: bool = False,
) -> tuple[TokenText, JoinToken]:
    """Make a token for a certificate with ``name``, and the record that the store keeps.

    Raises:
        InvalidArgumentError: The profile, the name or the lifetime is invalid.

    """
    if profile not in PROFILES:
        raise InvalidArgumentError(f"profile {profile!r}: take one of {', '.join(PROFILES)}")
    if not _PATTERN.fullmatch(name):
        raise InvalidArgumentError(
            f"name {name!r}: use 1 to 64 of A-Z a-z 0-9 @ _ . : - and * for any characters"
        )
    if profile == "client":
        check_subject_name(name)  # exactly one: what it may do is decided by its name
    if signer and profile != "manager":
        raise InvalidArgumentError(f"a {profile} cannot be a signer: only managers sign")
    if not 0 < lifetime_s <= LIFETIME_S_MAX:
        raise InvalidArgumentError(f"a join token may live for {LIFETIME_S_MAX} s at most")
    text = TokenText(secrets.token_hex(8), secrets.token_urlsafe(32), pin)
    record = JoinToken(
        secret_hash=hash_of(text.secret),
        profile=profile,
        name=name,
        expires_at=(utc_now() + dt.timedelta(seconds=lifetime_s)).isoformat(),
        created_by=created_by,
        signer=signer,
    )
    return text, record


def encode_token(record: JoinToken) -> str:
    """Encode ``record`` as the store holds it."""
    return msgspec.json.encode(record).decode()


def decode_token(value: str) -> JoinToken | None:
    """Decode a record; None if it is malformed."""
    try:
        return msgspec.json.decode(value, type=JoinToken)
    except UNREADABLE:
        return None


def _matches(pattern: str, name: str) -> bool:
    """Whether ``name`` fits ``pattern``, in linear time: a regular expression could take ages."""
    first, *rest = pattern.split("*")
    if not rest:
        return pattern == name
    if not name.startswith(first):
        return False
    at = len(first)
    for part in rest[:-1]:
        at = name.find(part, at)
        if at < 0:
            return False
        at += len(part)
    return len(name) - at >= len(rest[-1]) and name.endswith(rest[-1])


def _fits(profile: Profile, name: str) -> bool:
    """Whether a certificate of ``profile`` may be called ``name``."""
    if profile == "manager":
        return name.startswith(MANAGER_PREFIX) and len(name) > len(MANAGER_PREFIX)
    if profile == "daemon":
        # TYPE.ID, so that no daemon gets the name of a person; and none that of a manager.
        kind, dot, ident = name.partition(".")
        return bool(kind and dot and ident) and not name.startswith(MANAGER_PREFIX)
    return not name.startswith(MANAGER_PREFIX)

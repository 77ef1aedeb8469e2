"""Signs certificates on the active: for join tokens, and in place of certificates that end.

A token is used by one transaction, which compares its record with what was read: two calls with
one token cannot both succeed, on whichever managers. The signed certificate is part of that
transaction, so a caller whose answer was lost repeats the call with the same key and gets the same
certificate.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import msgspec

from mgr.clock import CLOCK
from mgr.errors import (
    ConflictError,
    InvalidSettingError,
    NotAuthorizedError,
    NotPermittedError,
)
from mgr.log_throttle import LogThrottle
from mgr.pki.authority import (
    Authority,
    Subject,
    check_subject_name,
    common_name,
    key_digest,
    load_certificate,
)
from mgr.pki.join_token import (
    MANAGER_PREFIX,
    JoinToken,
    decode_token,
    encode_token,
    new_token,
)
from mgr.pki.record import AuthorityRecord, read_authority
from mgr.pki.token_text import TokenText, hash_of
from mgr.store.api import FencedWriter, LeaseGrant, Modified, Operation, Put, Reader, Record
from mgr.store.keys import Keys
from mgr.tls import loose_key

PASSPHRASE_FILE: Final = "ca.passphrase"  # noqa: S105 - a name, not a secret
"""In a manager's ``tls_dir``: opens the CA's key that the store has."""
DAEMON_CAPS: Final = "profile daemon"
TOKENS_MAX: Final = 10_000
NOT_VALID: Final = (
    "this join token is unknown, used or expired: make another one with "
    "'mgrctl auth join-token create'"
)
"""One text for all reasons: it tells a stranger nothing about the tokens that exist."""
KEY_ELSEWHERE: Final = (
    "the CA's key is not in this cluster: it was handed out by mgrd init; "
    "'mgrd issue' signs certificates with it"
)

TOKEN_ID: Final = re.compile(r"[0-9a-f]{16}")
NO_TOKEN: Final = JoinToken(
    secret_hash=hash_of(""), profile="client", name="", expires_at="1970-01-01T00:00:00+00:00"
)

log = logging.getLogger(__name__)
_throttle: Final = LogThrottle(CLOCK.now)


class Leases(Protocol):
    """Makes leases: any ``Store``."""

    async def grant(self, ttl_s: int) -> LeaseGrant:
        """Make a lease of at least ``ttl_s`` seconds."""
        ...


class Issued(NamedTuple):
    """A signed certificate, and the CA's; for a manager the passphrase of the CA's key as well."""

    certificate: str
    ca: str
    passphrase: bytes = b""


@dataclass(frozen=True, slots=True)
class SealedAuthority:
    """Opens the CA's key, with the passphrase in ``tls_dir``."""

    mirror: Reader
    keys: Keys
    tls_dir: str

    def record(self) -> AuthorityRecord:
        """Return the record of the CA.

        Raises:
            NotPermittedError: There is none, or its key is not in the store.

        """
        record = read_authority(self.mirror, self.keys)
        if record is None:
            raise NotPermittedError(
                "this cluster has no CA of its own: its certificates come from elsewhere "
                "(mgrd init makes one)"
            )
        if not record.sealed_key:
            raise NotPermittedError(KEY_ELSEWHERE)
        return record

    def passphrase(self) -> bytes:
        """Read the passphrase. Blocks.

        Raises:
            InvalidSettingError: It cannot be read, or others may read it.

        """
        file = Path(self.tls_dir or ".", PASSPHRASE_FILE)
        if loose := loose_key(str(file)):
            raise InvalidSettingError(loose)
        try:
            return file.read_bytes().strip()
        except OSError as error:
            raise InvalidSettingError(
                f"the passphrase of the CA's key: {file}: {error.strerror}"
            ) from None

    async def open(self) -> Authority:
        """Open the key, in a thread.

        Raises:
            NotPermittedError: See ``record``.
            InvalidSettingError: The passphrase cannot be read, or is wrong.

        """
        record = self.record()
        return await asyncio.to_thread(
            lambda: Authority.unseal(record.certificate, record.sealed_key, self.passphrase())
        )


class CertificateIssuer:
    """Makes join tokens and signs certificates, in one term."""

    def __init__(
        self,
        sealed: SealedAuthority,
        fenced: FencedWriter,
        leases: Leases,
        lifetime_s: Callable[[], float],
    ) -> None:
        """Write by ``fenced``; certificates are valid for ``lifetime_s`` seconds."""
        self._sealed = sealed
        self._fenced = fenced
        self._leases = leases
        self._lifetime_s = lifetime_s
        self._mirror = sealed.mirror
        self._keys = sealed.keys
        self._authority: Authority | None = None

    async def create_token(
        self, profile: str, name: str, *, lifetime_s: int, created_by: str
    ) -> tuple[TokenText, JoinToken]:
        """Make and store a join token.

        Raises:
            InvalidArgumentError: The profile, the name or the lifetime is invalid.
            NotPermittedError: This cluster cannot sign, or has too many tokens.
            StoreError: See ``FencedStore.commit``.

        """
        pin = (await self._open()).pin
        text, record = new_token(
            profile, name, pin=pin, lifetime_s=lifetime_s, created_by=created_by
        )
        if len(self.tokens()) >= TOKENS_MAX:
            raise NotPermittedError(f"there are {TOKENS_MAX} join tokens: remove some first")
        lease = (await self._leases.grant(lifetime_s)).lease
        await self._fenced.put(self._keys.join_token(text.id), encode_token(record), lease)
        return text, record

    def tokens(self) -> dict[str, JoinToken]:
        """Return every token that is stored, by id; used ones until their time is over."""
        prefix = self._keys.join_tokens
        return {
            key.removeprefix(prefix): token
            for key, record in self._mirror.list(prefix).items()
            if (token := decode_token(record.value)) is not None
        }

    async def remove_token(self, ident: str) -> bool:
        """Remove a token; return whether there was one."""
        known = self._mirror.get(self._keys.join_token(ident)) is not None
        await self._fenced.delete(self._keys.join_token(ident))
        return known

    async def join(
        self,
        ident: str,
        secret: str,
        name: str,
        request: bytes,
        addresses: Sequence[str] = (),
        *,
        along: Sequence[Operation] = (),
    ) -> Issued:
        """Exchange a token for a certificate with ``name``.

        ``addresses`` are put into the certificates of managers only. ``along`` is written in the
        transaction that uses the token.

        Raises:
            NotAuthorizedError: There is no such token, or not any more.
            NotPermittedError: The token is not for this name, or the CA's key is not here.
            InvalidArgumentError: The request is malformed.
            StoreError: See ``FencedStore.commit``.

        """
        record, token = self._token(ident, secret)
        if not token.admits(check_subject_name(name)):
            raise NotPermittedError(
                f"this join token is for {token.profile}s named '{token.name}', not for '{name}'"
            )
        digest = key_digest(request)
        authority = await self._open()
        if token.used_key:
            if (token.used_key, token.used_for) != (digest, name):
                raise NotAuthorizedError(NOT_VALID)
            return await self._answer(authority, token, token.certificate)
        manager = token.profile == "manager"
        subject = Subject(name, server=manager, addresses=tuple(addresses) if manager else ())
        certificate = authority.sign(request, subject, self._lifetime())
        used = msgspec.structs.replace(
            token, used_for=name, used_key=digest, certificate=certificate
        )
        operations: list[Operation] = [Put(record.key, encode_token(used), record.lease)]
        operations += [*self._rights_of(name, token), *along]
        try:
            await self._fenced.commit(operations, [Modified(record.key, record.mod_revision)])
        except ConflictError:
            raise NotAuthorizedError(NOT_VALID) from None
        log.info(
            "certificate signed for a join token",
            extra={"client": name, "profile": token.profile, "token": ident},
        )
        return await self._answer(authority, token, certificate)

    async def renew(self, presented: bytes, request: bytes) -> Issued:
        """Sign a new certificate for the client that presented ``presented`` in its handshake.

        Raises:
            NotAuthorizedError: The certificate is not of this cluster's CA, or its name has no
                capabilities any more.
            NotPermittedError: It is a manager's, which renews its own, or the key is not here.
            InvalidArgumentError: The request is malformed.

        """
        authority = await self._open()
        certificate = load_certificate(presented)
        name = common_name(certificate)
        if not authority.has_signed(certificate) or not name:
            raise NotAuthorizedError("this certificate was not signed by the cluster's CA")
        if name.startswith(MANAGER_PREFIX):
            raise NotPermittedError("managers renew their certificates by themselves")
        if self._mirror.get(self._keys.access_of(name)) is None:
            raise NotAuthorizedError(
                f"client '{name}' has no capabilities of its own: its certificate is not renewed"
            )
        renewed = authority.sign(request, Subject(name), self._lifetime())
        log.info("certificate renewed", extra={"client": name})
        return Issued(renewed, authority.certificate)

    def _token(self, ident: str, secret: str) -> tuple[Record, JoinToken]:
        valid = TOKEN_ID.fullmatch(ident) is not None
        record = self._mirror.get(self._keys.join_token(ident)) if valid else None
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

    def _rights_of(self, name: str, token: JoinToken) -> list[Operation]:
        """Return what gives ``name`` the capabilities of the token's profile.

        Raises:
            NotPermittedError: The name has other capabilities: somebody else's would be taken.

        """
        if token.profile != "daemon":
            return []
        key = self._keys.access_of(name)
        present = self._mirror.get(key)
        if present is None:
            return [Put(key, DAEMON_CAPS)]
        if present.value != DAEMON_CAPS:
            raise NotPermittedError(
                f"client '{name}' has capabilities of its own: a daemon cannot join under its name"
            )
        return []

    async def _answer(self, authority: Authority, token: JoinToken, certificate: str) -> Issued:
        passphrase = b""
        if token.profile == "manager":
            passphrase = await asyncio.to_thread(self._sealed.passphrase)
        return Issued(certificate, authority.certificate, passphrase)

    async def _open(self) -> Authority:
        if self._authority is None:
            self._authority = await self._sealed.open()
        return self._authority

    def _lifetime(self) -> dt.timedelta:
        return dt.timedelta(seconds=self._lifetime_s())

"""Issues certificates on the active: for join tokens, and in place of certificates that end.

A token is used by one transaction, which compares its record with what was read: two calls with
one token cannot both succeed, on whichever managers. The signed certificate is part of that
transaction, so a caller whose answer was lost repeats the call with the same key and gets the same
certificate. The signature itself is made by a signer, here or on another manager.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

import msgspec

from mgr.errors import (
    ConflictError,
    NotAuthorizedError,
    NotPermittedError,
)
from mgr.pki.authority import key_digest, load_certificate, pin_of
from mgr.pki.join_token import JoinToken, decode_token, encode_token, new_token
from mgr.pki.sealed_authority import SealedAuthority
from mgr.pki.signer import (
    NOT_VALID,
    Signer,
    SigningOrder,
    check_not_running,
    find_token,
    joining_subject,
    presence_of,
    renewed_subject,
)
from mgr.pki.token_text import TokenText
from mgr.store.api import (
    ABSENT,
    Compare,
    Created,
    FencedWriter,
    LeaseGrant,
    Modified,
    Operation,
    Put,
)
from mgr.store.keys import Keys

CAPS: Final = {"daemon": "profile daemon", "manager": "profile manager"}
"""The capabilities that a token's profile gives to the name in the certificate."""
TOKENS_MAX: Final = 10_000

log = logging.getLogger(__name__)


class Leases(Protocol):
    """Makes leases: any ``Store``."""

    async def grant(self, ttl_s: int) -> LeaseGrant:
        """Make a lease of at least ``ttl_s`` seconds."""
        ...


class Issued(NamedTuple):
    """A signed certificate, and the CA's.

    Attributes:
        manager: It is a manager's, which needs to know the cluster.
        passphrase: For a manager that shall be a signer: opens the CA's key.

    """

    certificate: str
    ca: str
    manager: bool = False
    passphrase: bytes = b""


class CertificateIssuer:
    """Makes join tokens and signs certificates, in one term."""

    def __init__(
        self, sealed: SealedAuthority, fenced: FencedWriter, leases: Leases, signer: Signer
    ) -> None:
        """Write by ``fenced``, and have certificates signed by ``signer``."""
        self._sealed = sealed
        self._fenced = fenced
        self._leases = leases
        self._signer = signer
        self._mirror = sealed.mirror
        self._keys: Keys = sealed.keys

    async def create_token(
        self, profile: str, name: str, *, lifetime_s: int, created_by: str, signer: bool = False
    ) -> tuple[TokenText, JoinToken]:
        """Make and store a join token; with ``signer``, its manager gets the CA's passphrase.

        Raises:
            InvalidArgumentError: The profile, the name or the lifetime is invalid.
            NotPermittedError: This cluster cannot sign, or has too many tokens.
            StoreError: See ``FencedStore.commit``.

        """
        pin = pin_of(load_certificate(self._sealed.record().certificate))
        text, record = new_token(
            profile, name, pin=pin, lifetime_s=lifetime_s, created_by=created_by, signer=signer
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
            NotPermittedError: The token is not for this name, a manager of this name runs, or the
                CA's key is not here.
            InvalidArgumentError: The request is malformed.
            StoreError: See ``FencedStore.commit``.

        """
        order = SigningOrder(request, name, tuple(addresses), token_id=ident, secret=secret)
        record, token = find_token(self._mirror, self._keys, ident, secret)
        subject = joining_subject(token, order)
        ca = self._sealed.record().certificate
        # Before the token is used up: this manager may not have it.
        passphrase = await asyncio.to_thread(self._sealed.passphrase) if token.signer else b""
        if token.used_key:
            return Issued(token.certificate, ca, token.profile == "manager", passphrase)
        check_not_running(self._mirror, self._keys, subject)
        digest = key_digest(request)
        rights = self._rights_of(name, token)
        certificate = await self._signer.sign(order)
        used = msgspec.structs.replace(
            token, used_for=name, used_key=digest, certificate=certificate
        )
        operations = [Put(record.key, encode_token(used), record.lease), *rights, *along]
        unchanged: list[Compare] = [Modified(record.key, record.mod_revision)]
        if subject.server:
            unchanged.append(Created(presence_of(self._keys, name), ABSENT))
        try:
            await self._fenced.commit(operations, unchanged)
        except ConflictError:
            raise NotAuthorizedError(NOT_VALID) from None
        log.info(
            "certificate signed for a join token",
            extra={"client": name, "profile": token.profile, "token": ident},
        )
        return Issued(certificate, ca, token.profile == "manager", passphrase)

    async def renew(self, presented: bytes, request: bytes, proof: bytes = b"") -> Issued:
        """Have a new certificate signed for the client that presented ``presented``.

        TLS has verified that it has the key. ``proof`` shows the same to another manager that
        signs.

        Raises:
            NotAuthorizedError: The certificate is not of this cluster's CA, or its name has no
                capabilities any more; or it is not proven to a signer.
            NotPermittedError: It is a manager's, which asks a signer, or the key is not here.
            InvalidArgumentError: The request is malformed.

        """
        ca = self._sealed.record().certificate
        subject = renewed_subject(self._mirror, self._keys, load_certificate(ca), presented)
        if subject.server:
            raise NotPermittedError("managers have their certificates renewed by signers")
        order = SigningOrder(request, subject.name, presented=presented, proof=proof)
        renewed = await self._signer.sign(order)
        log.info("certificate renewed", extra={"client": subject.name})
        return Issued(renewed, ca)

    def _rights_of(self, name: str, token: JoinToken) -> list[Operation]:
        """Return what gives ``name`` the capabilities of the token's profile.

        Raises:
            NotPermittedError: The name has other capabilities: somebody else's would be taken.

        """
        caps = CAPS.get(token.profile)
        if caps is None:
            return []
        key = self._keys.access_of(name)
        present = self._mirror.get(key)
        if present is None:
            return [Put(key, caps)]
        if present.value != caps:
            raise NotPermittedError(
                f"client '{name}' has capabilities of its own: no {token.profile} can join under "
                "its name"
            )
        return []

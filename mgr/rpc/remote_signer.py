"""Asks a signer for a signature: what a manager does that does not have the CA's passphrase."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

import grpc

from mgr.election.records import Presence
from mgr.errors import MgrError, NotAuthorizedError, NotPermittedError, UnreachableError
from mgr.pki.sealed_authority import SealedAuthority
from mgr.pki.signer import TOKEN_ID, LocalSigner, SigningOrder
from mgr.rpc.status import error_of
from mgr.rpc.v1.certificate_pb2 import SignRequest, SignResponse
from mgr.rpc.v1.certificate_pb2_grpc import CertificateServiceStub
from mgr.tls import Tls

TIMEOUT_S: Final = 3.0
"""How long one signer may take; whoever joins waits for it."""
BEHIND_S: Final = 1.0
"""How long a signer waits for a join token that its own mirror does not show yet."""
LOOK_EVERY_S: Final = 0.05
OPTIONS: Final = (
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.http2.ping_timeout_ms", 1_500),
)
NO_SIGNER: Final = "no manager that can sign is running: start one that has ca.passphrase"


class RemoteSigner:
    """Asks the other managers that can sign, one after the other."""

    def __init__(
        self,
        name: str,
        managers: Callable[[], Iterable[Presence]],
        tls: Callable[[], Tls | None],
    ) -> None:
        """Ask those of ``managers`` that sign, but not ``name``; show the certificate ``tls``."""
        self._name = name
        self._managers = managers
        self._tls = tls

    async def sign(self, order: SigningOrder) -> str:
        """See ``mgr.pki.signer.Signer``."""
        tls, failures = self._tls(), dict[str, MgrError]()
        for each in self._managers():
            if tls is None or not each.signs or each.name == self._name or not each.grpc_address:
                continue
            try:
                return await _ask(each.grpc_address, tls, order)
            except MgrError as error:
                failures[each.name] = error
        for refusal in failures.values():
            if isinstance(refusal, NotAuthorizedError | NotPermittedError):
                raise refusal
        # It may be restarting: whoever joins asks again for a while.
        raise UnreachableError(
            NO_SIGNER, failures={f"mgr.{name}": str(error) for name, error in failures.items()}
        )


class AnySigner:
    """Signs here if this manager has the passphrase of the CA's key, else at another one."""

    def __init__(self, sealed: SealedAuthority, local: LocalSigner, remote: RemoteSigner) -> None:
        """Decide by ``sealed`` at each call: an operator may give or take the passphrase."""
        self._sealed = sealed
        self._local = local
        self._remote = remote

    async def sign(self, order: SigningOrder) -> str:
        """See ``mgr.pki.signer.Signer``."""
        self._sealed.record()  # without a CA, or with its key elsewhere, nobody signs
        return await (self._local if await self.is_here() else self._remote).sign(order)

    async def is_here(self) -> bool:
        """See ``mgr.pki.signer.ManagerSigner``."""
        return await asyncio.to_thread(self._sealed.has_passphrase)

    async def sign_here(self, order: SigningOrder) -> str:
        """See ``mgr.pki.signer.ManagerSigner``."""
        if order.token_id:
            await self._wait_for_token(order.token_id)
        return await self._local.sign(order)

    async def renew_own(self, request: bytes) -> str:
        """See ``mgr.pki.signer.ManagerSigner``."""
        self._sealed.record()
        return await self._remote.sign(SigningOrder(request, ""))

    async def _wait_for_token(self, ident: str) -> None:
        # The active has just stored it, or shows it already: this mirror may be a moment behind.
        key = self._sealed.keys.join_token(ident) if TOKEN_ID.fullmatch(ident) else ""
        for _ in range(int(BEHIND_S / LOOK_EVERY_S)):
            if not key or self._sealed.mirror.get(key) is not None:
                return
            await asyncio.sleep(LOOK_EVERY_S)


async def _ask(address: str, tls: Tls, order: SigningOrder) -> str:
    credentials = grpc.ssl_channel_credentials(tls.ca or None, tls.key, tls.cert)
    request = SignRequest(
        name=order.name,
        signing_request=order.request,
        addresses=order.addresses,
        token_id=order.token_id,
        secret=order.secret,
        presented=order.presented,
        proof=order.proof,
    )
    async with grpc.aio.secure_channel(address, credentials, options=OPTIONS) as channel:
        try:
            answer: SignResponse = await CertificateServiceStub(channel).Sign(
                request, timeout=TIMEOUT_S
            )
        except grpc.aio.AioRpcError as failed:
            raise error_of(failed) from None
    return answer.certificate.decode()

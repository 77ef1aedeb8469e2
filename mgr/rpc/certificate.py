"""The certificate service: join tokens become certificates, and certificates are renewed."""

# ruff: noqa: N802 - the methods are named by the proto

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Final

import grpc

from mgr.access.caps import AccessRequest
from mgr.access.identity import Caller
from mgr.errors import (
    NotActiveError,
    NotAuthorizedError,
    NotPermittedError,
    OverloadedError,
    UnreachableError,
)
from mgr.host.cluster_view import ClusterView
from mgr.host.role import Role
from mgr.pki.authority import common_name, is_proven, load_certificate
from mgr.pki.issuer import CertificateIssuer
from mgr.pki.join_token import MANAGER_PREFIX
from mgr.pki.signer import ManagerSigner, SigningOrder
from mgr.rpc.audited import AuditedChange
from mgr.rpc.authorization import certificate_of
from mgr.rpc.v1 import certificate_pb2, certificate_pb2_grpc
from mgr.settings import Settings

AUDITED_AS: Final = "auth join"
CALLS_MAX: Final = 16
"""Calls of ``Join`` and ``Renew`` at a time. Each signs, which takes a millisecond of this loop."""

Context = grpc.aio.ServicerContext[Any, Any]

log = logging.getLogger(__name__)


class CertificateServicer(certificate_pb2_grpc.CertificateServiceServicer):
    """See ``proto/mgr/rpc/v1/certificate.proto``."""

    def __init__(
        self,
        settings: Settings,
        role_of: Callable[[], Role],
        view: ClusterView,
        caller_of: Callable[[Context], Caller],
        signer: ManagerSigner | None = None,
    ) -> None:
        """Answer as the manager with ``settings``, which tell who joins where etcd is.

        ``caller_of`` identifies a client that may have nothing but a join token. ``signer`` signs
        for other managers.
        """
        self._signer = signer
        self._caller_of = caller_of
        self._settings = settings
        self._role_of = role_of
        self._view = view
        self._running = 0

    async def Join(
        self, request: certificate_pb2.JoinRequest, context: Context
    ) -> certificate_pb2.JoinResponse:
        """Exchange a join token for a certificate."""
        caller = self._caller_of(context)
        issuer, audit = self._begin(), self._role_of().audit
        arguments = {"name": request.name, "token": request.token_id}
        change = AuditedChange(audit, caller, AUDITED_AS, arguments)
        join = partial(
            issuer.join,
            request.token_id,
            request.secret,
            request.name,
            request.signing_request,
            request.addresses,
        )
        try:
            issued = await change(join)
        except (NotAuthorizedError, NotPermittedError) as error:
            if audit is not None:
                needs = "" if isinstance(error, NotAuthorizedError) else "another join token"
                audit.refused(caller, AccessRequest(AUDITED_AS, needs, arguments=arguments))
            raise
        finally:
            self._running -= 1
        manager = None
        if issued.manager:
            manager = certificate_pb2.ManagerSetup(
                cluster=self._settings.cluster,
                etcd=self._settings.etcd,
                ca_passphrase=issued.passphrase,
            )
        return certificate_pb2.JoinResponse(
            certificate=issued.certificate.encode(),
            ca=issued.ca.encode(),
            hosts=[each.grpc_address for each in self._view.presences() if each.grpc_address],
            manager=manager,
        )

    async def Renew(
        self, request: certificate_pb2.RenewRequest, context: Context
    ) -> certificate_pb2.RenewResponse:
        """Sign a new certificate for the caller."""
        presented = _presented(context)
        issuer = self._begin()
        try:
            issued = await issuer.renew(presented, request.signing_request, request.proof)
        finally:
            self._running -= 1
        return certificate_pb2.RenewResponse(
            certificate=issued.certificate.encode(), ca=issued.ca.encode()
        )

    async def Sign(
        self, request: certificate_pb2.SignRequest, context: Context
    ) -> certificate_pb2.SignResponse:
        """Sign for another manager, if this one has the passphrase of the CA's key."""
        if self._signer is None or not await self._signer.is_here():
            raise UnreachableError("this manager is no signer: it lacks the CA's passphrase")
        order = self._order(request, _presented(context))
        self._count()
        try:
            certificate = await self._signer.sign_here(order)
        finally:
            self._running -= 1
        log.info("certificate signed for another manager", extra={"client": order.name})
        return certificate_pb2.SignResponse(certificate=certificate.encode())

    def _order(self, request: certificate_pb2.SignRequest, presented: bytes) -> SigningOrder:
        """Return what ``request`` orders, if the manager that presented ``presented`` may.

        Raises:
            NotPermittedError: It is no manager's certificate; or it is not the active's.
            NotAuthorizedError: Who wants a new certificate did not prove to have the present one.

        """
        asks = common_name(load_certificate(presented))
        if not asks.startswith(MANAGER_PREFIX):
            raise NotPermittedError(f"'{asks}' is no manager: only managers have others sign")
        order = SigningOrder(
            request.signing_request,
            request.name,
            tuple(request.addresses),
            token_id=request.token_id,
            secret=request.secret,
            presented=request.presented,
            proof=request.proof,
        )
        if not (order.token_id or order.presented):
            return replace(order, name=asks, presented=presented)
        leader = self._view.leader()
        if leader is None or f"{MANAGER_PREFIX}{leader.name}" != asks:
            raise NotPermittedError(f"'{asks}' is not the active: it has only its own renewed")
        if order.presented and not is_proven(
            load_certificate(order.presented), order.request, order.proof
        ):
            raise NotAuthorizedError(
                "the client did not prove that it has the key of its certificate: is it of an "
                "earlier release?"
            )
        return order

    def _begin(self) -> CertificateIssuer:
        """Return the issuer for one more call."""
        issuer = self._role_of().issuer
        if issuer is None:
            leader = self._view.leader()
            if leader is None or leader.name == self._settings.id:
                raise NotActiveError(None)
            raise NotActiveError(
                leader.join_address or leader.grpc_address,
                active_name=leader.name,
                term=leader.term,
                age_s=leader.age_s,
            )
        self._count()
        return issuer

    def _count(self) -> None:
        if self._running >= CALLS_MAX:
            raise OverloadedError(f"{CALLS_MAX} certificates are being signed: retry")
        self._running += 1


def _presented(context: Context) -> bytes:
    """Return the certificate of the call's client, in PEM form.

    Raises:
        NotAuthorizedError: It has none.

    """
    presented = certificate_of(context)
    if not presented:
        raise NotAuthorizedError("present a certificate of the cluster's CA")
    return presented

"""The certificate service: join tokens become certificates, and certificates are renewed."""

# ruff: noqa: N802 - the methods are named by the proto

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import grpc

from mgr.access.identity import Caller
from mgr.errors import NotActiveError, NotAuthorizedError, OverloadedError
from mgr.host.cluster_view import ClusterView
from mgr.host.role import Role
from mgr.pki.issuer import CertificateIssuer
from mgr.rpc.audited import AuditedChange
from mgr.rpc.v1 import certificate_pb2, certificate_pb2_grpc
from mgr.settings import Settings

AUDITED_AS: Final = "auth join"
PRESENTED: Final = "x509_pem_cert"
CALLS_MAX: Final = 16
"""Calls of ``Join`` and ``Renew`` at a time. Each signs, which takes a millisecond of this loop."""

Context = grpc.aio.ServicerContext[Any, Any]


class CertificateServicer(certificate_pb2_grpc.CertificateServiceServicer):
    """See ``proto/mgr/rpc/v1/certificate.proto``."""

    def __init__(
        self,
        settings: Settings,
        role_of: Callable[[], Role],
        view: ClusterView,
        caller_of: Callable[[Context], Caller],
    ) -> None:
        """Answer as the manager with ``settings``, which tell who joins where etcd is.

        ``caller_of`` identifies a client that may have nothing but a join token.
        """
        self._caller_of = caller_of
        self._settings = settings
        self._role_of = role_of
        self._view = view
        self._running = 0

    async def Join(
        self, request: certificate_pb2.JoinRequest, context: Context
    ) -> certificate_pb2.JoinResponse:
        """Exchange a join token for a certificate."""
        issuer = self._begin()
        arguments = {"name": request.name, "token": request.token_id}
        change = AuditedChange(
            self._role_of().audit, self._caller_of(context), AUDITED_AS, arguments
        )
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
        finally:
            self._running -= 1
        manager = None
        if issued.passphrase:
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
        presented = next(iter(context.auth_context().get(PRESENTED, ())), b"")
        if not presented:
            raise NotAuthorizedError("present the certificate that is to be renewed")
        issuer = self._begin()
        try:
            issued = await issuer.renew(presented, request.signing_request)
        finally:
            self._running -= 1
        return certificate_pb2.RenewResponse(
            certificate=issued.certificate.encode(), ca=issued.ca.encode()
        )

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
        if self._running >= CALLS_MAX:
            raise OverloadedError(f"{CALLS_MAX} certificates are being signed: retry")
        self._running += 1
        return issuer

"""Authorization of gRPC calls: the caller's identity, the capability needed (docs/adr/0052)."""

from __future__ import annotations

import urllib.parse
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, Final

import grpc

from mgr.access.authenticator import Authenticator, Peer
from mgr.access.caps import CHANGE_ACCESS, SIGN, AccessRequest
from mgr.access.identity import Caller, Kind
from mgr.access.table import Access
from mgr.errors import NotAuthenticatedError
from mgr.rpc.open_port import client_address, client_certificate
from mgr.rpc.revocation import RevocableStreams

CERTIFICATE: Final = "x509_pem_cert"
"""The client's certificate in gRPC's context. The names beside it are cut at a NUL."""
AUTHORIZATION: Final = "authorization"
"""Key of the metadata with a token."""

Context = grpc.aio.ServicerContext[Any, Any]

_MANAGER: Final = "/mgr.rpc.v1.ManagerService/"
_CLUSTER: Final = "/mgr.rpc.v1.ClusterService/"
_CERTIFICATES: Final = "/mgr.rpc.v1.CertificateService/"

ACCESS_REQUESTS: Final[Mapping[str, Callable[[Any], AccessRequest]]] = {
    f"{_MANAGER}Fail": lambda call: AccessRequest("mgr fail", "rw", arguments={"who": call.name}),
    f"{_MANAGER}FollowLog": lambda _: AccessRequest("log last", "r"),
    f"{_CLUSTER}GetMap": lambda call: AccessRequest("map get", "r", arguments={"name": call.name}),
    f"{_CLUSTER}ListMaps": lambda _: AccessRequest("map ls", "r"),
    f"{_CLUSTER}SetMap": lambda call: AccessRequest("map set", "rw", arguments={"name": call.name}),
    f"{_CLUSTER}RemoveMap": lambda call: AccessRequest(
        "map rm", "rw", arguments={"name": call.name}
    ),
    f"{_CLUSTER}WatchMaps": lambda call: AccessRequest(
        "map watch", "r", arguments={"name": call.prefix}
    ),
    f"{_CLUSTER}ListDaemons": lambda _: AccessRequest("daemon ls", "r"),
    f"{_CLUSTER}GetCounters": lambda _: AccessRequest("counter ls", "r"),
    f"{_CERTIFICATES}Sign": lambda _: AccessRequest(SIGN, CHANGE_ACCESS),
}
"""The command whose capability each call needs. Calls that are not listed are open to every client
that is authenticated, or are checked by their content: commands by their own ``perm``, reports by
the joining daemon."""


_CALLER: Final[ContextVar[Caller | None]] = ContextVar("caller", default=None)
"""The caller of the call that the current task serves: gRPC serves each call in a task of its own.
Finding it out takes longer than any other step of a short command."""


def access_request(method: str, request: Any) -> AccessRequest | None:
    """Return the capability that this call needs; None: its client must be authenticated only."""
    request_of = ACCESS_REQUESTS.get(method)
    return None if request_of is None else request_of(request)


class Authorizer:
    """Identifies the caller of a gRPC call and checks its capabilities.

    Attributes:
        access: Who may do what.
        streams: The open streams, which end when their client may not have them any more.

    """

    def __init__(self, access: Access, *, certificates: bool, encrypted: bool) -> None:
        """Check against ``access``.

        ``certificates``: TLS verifies the certificates of clients (``tls_ca``). ``encrypted``: the
        connections are TLS.
        """
        self.access: Final = access
        self.streams: Final = RevocableStreams(access)
        self._encrypted = encrypted
        self._certificates = certificates
        self._authenticator = Authenticator(access.tokens, certificates=certificates)

    def caller_of(self, context: Context) -> Caller:
        """Return the caller of the call; ``check`` has found out who it is, before its servicer.

        Raises:
            NotAuthenticatedError: As raised by ``check``.

        """
        return _CALLER.get() or self._identify(context)

    def _identify(self, context: Context) -> Caller:
        """Return the caller of the call.

        Raises:
            NotAuthenticatedError: It shows a certificate or token that is not valid, or nothing
                where this manager asks for certificates.

        """
        metadata = context.invocation_metadata() or ()
        authorization = next((value for key, value in metadata if key == AUTHORIZATION), "")
        caller = self._authenticator.identify(self._peer(context, str(authorization)))
        if caller.kind is Kind.ANONYMOUS and self._certificates:
            # It came by the port for clients with a token. It is refused even if the cluster does
            # not demand authentication: those settings do not mean to open a door.
            raise NotAuthenticatedError("this port takes clients with a token only")
        return caller

    def sender_of(self, context: Context) -> Caller:
        """Return who sent a call, by its connection: its metadata are not read."""
        try:
            return self._authenticator.identify(self._peer(context, ""))
        except NotAuthenticatedError:
            return Caller.anonymous(address_of(context))

    def _peer(self, context: Context, authorization: str) -> Peer:
        certificate = certificate_of(context) if self._certificates else b""
        return Peer(address_of(context), certificate, authorization, self._encrypted)

    def check(self, method: str, request: Any, context: Context) -> None:
        """Check that the caller may make this call.

        Raises:
            NotAuthenticatedError: It shows no certificate or token that is valid.
            NotAuthorizedError: It may not. Nothing was done.

        """
        needed = access_request(method, request)
        try:
            caller = self._identify(context)
            if needed is None:
                self.access.check_authenticated(caller)
        except NotAuthenticatedError:
            self.access.note_unauthenticated(address_of(context), method.rpartition("/")[2])
            raise
        _CALLER.set(caller)
        if needed is not None:
            self.access.check(caller, needed)


def certificate_of(context: Context) -> bytes:
    """Return the client's certificate, verified by TLS, in PEM form; empty: it has shown none."""
    found: bytes = next(iter(context.auth_context().get(CERTIFICATE, ())), b"")
    return found or client_certificate(_peer_of(context))


def address_of(context: Context) -> str:
    """Return the client's IP address; empty if it is not known."""
    return client_address(peer) if (peer := _peer_of(context)) else ""


def _peer_of(context: Context) -> str:
    """Return what follows in ``ipv4:127.0.0.1:7400`` or ``ipv6:%5B::1%5D:7400``; else nothing."""
    kind, _, rest = urllib.parse.unquote(context.peer()).partition(":")
    return rest if kind in {"ipv4", "ipv6"} else ""

"""Access to the pages of the HTTP port: who sent a request, and whether it may see the page."""

from __future__ import annotations

import math
from typing import Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from mgr.access.authenticator import Authenticator, Peer
from mgr.access.caps import AccessRequest
from mgr.access.identity import Caller
from mgr.errors import NotAuthenticatedError, NotAuthorizedError
from mgr.host.cluster_view import ClusterView

CERTIFICATE: Final = "certificate"
"""Key of the client's certificate in the state of a connection, in DER form; empty without one."""
CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="mgr"'}


class HttpAccess:
    """Checks requests by the same entries, roles and tokens as gRPC."""

    def __init__(self, view: ClusterView, *, certificates: bool) -> None:
        """Check against the table of ``view``; ``certificates``: TLS verifies those of clients."""
        self._view = view
        self._authenticator = Authenticator(view.access.tokens, certificates=certificates)

    def refusal(self, request: Request, needed: AccessRequest) -> Response | None:
        """Return the answer for a client that may not see a page; None if it may."""
        if not math.isfinite(self._view.age_s()):
            # Whether the cluster demands authentication is not known before etcd has answered.
            return PlainTextResponse("not ready yet: retry\n", 503, {"Retry-After": "1"})
        try:
            self._view.access.check(self._identify(request), needed)
        except NotAuthenticatedError as error:
            return PlainTextResponse(f"{error}\n", 401, CHALLENGE)
        except NotAuthorizedError as error:
            return PlainTextResponse(f"{error}\n", 403)
        return None

    def _identify(self, request: Request) -> Caller:
        peer = _peer(request)
        try:
            return self._authenticator.identify(peer)
        except NotAuthenticatedError:
            self._view.access.note_unauthenticated(peer.address, "http")
            raise


def _peer(request: Request) -> Peer:
    return Peer(
        address=request.client.host if request.client else "",
        certificate=request.scope.get("state", {}).get(CERTIFICATE, b""),
        authorization=request.headers.get("authorization", ""),
        encrypted=request.url.scheme == "https",
    )

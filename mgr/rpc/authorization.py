"""Authorization of gRPC calls: the caller's identity, the capability needed (docs/adr/0032)."""

from __future__ import annotations

import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import grpc

from mgr.access.caps import AccessRequest
from mgr.access.table import Access, Caller

NAMELESS: Final = "(nameless)"
"""Name of a client whose certificate has no name. No entry of the table can have this name."""
COMMON_NAME: Final = "x509_common_name"
OTHER_NAMES: Final = "x509_subject_alternative_name"

Context = grpc.aio.ServicerContext[Any, Any]

_MANAGER: Final = "/mgr.rpc.v1.ManagerService/"
_CLUSTER: Final = "/mgr.rpc.v1.ClusterService/"

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
}
"""The command whose capability each call needs. Calls that are not listed are open to every client,
or are checked by their content: commands by their own ``perm``, reports by the joining daemon."""


@dataclass(frozen=True, slots=True)
class Authorizer:
    """Identifies the caller of a gRPC call and checks its capabilities.

    Attributes:
        certificate_required: Whether clients must present a certificate (``tls_ca``).

    """

    access: Access
    certificate_required: bool

    def caller_of(self, context: Context) -> Caller:
        """Return the caller: its certificate's name, if required, and its address."""
        return Caller(
            self._name(context) if self.certificate_required else None, _address(context.peer())
        )

    def check(self, method: str, request: Any, context: Context) -> None:
        """Check that the caller may make this call.

        Raises:
            NotAuthorizedError: It may not. Nothing was done.

        """
        if access_request_of := ACCESS_REQUESTS.get(method):
            self.access.check(self.caller_of(context), access_request_of(request))

    def _name(self, context: Context) -> str:
        certificate = context.auth_context()
        names = [*certificate.get(COMMON_NAME, ()), *certificate.get(OTHER_NAMES, ())]
        return next((name.decode(errors="replace") for name in names if name), NAMELESS)


def _address(peer: str) -> str:
    """Return the IP address in ``ipv4:127.0.0.1:7400`` or ``ipv6:%5B::1%5D:7400``; else empty."""
    kind, _, rest = urllib.parse.unquote(peer).partition(":")
    return rest.rpartition(":")[0].strip("[]") if kind in {"ipv4", "ipv6"} else ""

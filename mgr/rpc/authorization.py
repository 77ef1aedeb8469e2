"""Who calls, and what a call asks for: the wire's half of capabilities (docs/adr/0032)."""

from __future__ import annotations

import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import grpc

from mgr.access.caps import AccessRequest
from mgr.access.table import Access, Caller

NAMELESS: Final = "(nameless)"
"""A client whose certificate says no name. Nobody can be called so in the table."""
COMMON_NAME: Final = "x509_common_name"
OTHER_NAMES: Final = "x509_subject_alternative_name"

Context = grpc.aio.ServicerContext[Any, Any]

_MANAGER: Final = "/mgr.rpc.v1.ManagerService/"
_CLUSTER: Final = "/mgr.rpc.v1.ClusterService/"

ASKS: Final[Mapping[str, Callable[[Any], AccessRequest]]] = {
    f"{_MANAGER}Fail": lambda asked: AccessRequest("mgr fail", "rw", arguments={"who": asked.name}),
    f"{_MANAGER}FollowLog": lambda _: AccessRequest("log last", "r"),
    f"{_CLUSTER}GetMap": lambda asked: AccessRequest(
        "map get", "r", arguments={"name": asked.name}
    ),
    f"{_CLUSTER}ListMaps": lambda _: AccessRequest("map ls", "r"),
    f"{_CLUSTER}SetMap": lambda asked: AccessRequest(
        "map set", "rw", arguments={"name": asked.name}
    ),
    f"{_CLUSTER}RemoveMap": lambda asked: AccessRequest(
        "map rm", "rw", arguments={"name": asked.name}
    ),
    f"{_CLUSTER}WatchMaps": lambda asked: AccessRequest(
        "map watch", "r", arguments={"name": asked.prefix}
    ),
    f"{_CLUSTER}ListDaemons": lambda _: AccessRequest("daemon ls", "r"),
    f"{_CLUSTER}GetCounters": lambda _: AccessRequest("counter ls", "r"),
}
"""The command that a call stands for. Calls that are not here are open to every client, or ask by
what they carry: commands by their own ``perm``, reports by who wants to join."""


@dataclass(frozen=True, slots=True)
class Door:
    """Knows who calls and what he may do.

    Attributes:
        demands: Clients must show a certificate here (``tls_ca``).

    """

    access: Access
    demands: bool

    def caller_of(self, context: Context) -> Caller:
        """Who is at the other end."""
        return Caller(self._name(context) if self.demands else None, _address(context.peer()))

    def check(self, method: str, request: Any, context: Context) -> None:
        """Return if the caller may make this call.

        Raises:
            NotAuthorizedError: It may not; nothing was done.

        """
        if ask_of := ASKS.get(method):
            self.access.check(self.caller_of(context), ask_of(request))

    def _name(self, context: Context) -> str:
        shown = context.auth_context()
        names = [*shown.get(COMMON_NAME, ()), *shown.get(OTHER_NAMES, ())]
        return next((name.decode(errors="replace") for name in names if name), NAMELESS)


def _address(peer: str) -> str:
    """The IP address in ``ipv4:127.0.0.1:7400`` or ``ipv6:%5B::1%5D:7400``; else empty."""
    kind, _, rest = urllib.parse.unquote(peer).partition(":")
    return rest.rpartition(":")[0].strip("[]") if kind in {"ipv4", "ipv6"} else ""

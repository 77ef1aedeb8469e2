"""Who calls whom: the callers of ``docs/reference/access.md``, and what each may do.

The page is written from this, and ``tests/integration/rpc/test_access_table.py`` tries all of it.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from google.protobuf.message_factory import GetMessageClass
from prometheus_client import CollectorRegistry

from mgr.access.caps import JOIN, AccessRequest
from mgr.access.identity import Caller
from mgr.access.protection import Protection, encode
from mgr.access.table import Access
from mgr.http.access import CERTIFICATE
from mgr.http.app import RULES as PAGES
from mgr.http.app import HttpPages
from mgr.rpc.authorization import access_request
from mgr.rpc.gated import RULES
from mgr.rpc.v1 import certificate_pb2, cluster_pb2, command_pb2, manager_pb2
from mgr.store.api import Record, Revision
from mgr.store.keys import Keys
from tests.support.certificates import Authority

KEYS = Keys("pretended")
NOT_CONNECTED = ("no certificate", "wrong CA", "expired")
"""Callers that TLS does not let in."""
DAEMON = "host.db1"
CAPS = {
    "no entry": None,
    "viewer": "allow role viewer",
    "daemon": "profile daemon",
    "operator": "allow role operator",
    "admin": "allow role admin",
}
"""Callers with a certificate of the cluster's CA, and their capabilities."""
NAMES = {"no entry": "stranger", "daemon": DAEMON}
"""The common names of those whose certificates are not called as they are here."""
OWN = {
    "/mgr.rpc.v1.CommandService/Execute": "by command",
    "/mgr.rpc.v1.CommandService/Session": "by command",
}
"""Calls that are checked by what they carry."""
REPORT = "/mgr.rpc.v1.ClusterService/Report"
FILES = (command_pb2, manager_pb2, cluster_pb2, certificate_pb2)


@dataclass(frozen=True)
class Call:
    """One method of our services."""

    name: str
    method: Any

    @property
    def request(self) -> Any:
        """The simplest request; for a report, that of the daemon itself."""
        if self.name == REPORT:
            kind, _, ident = DAEMON.partition(".")
            opened = cluster_pb2.Open(type=kind, id=ident, incarnation="1")
            return cluster_pb2.ReportRequest(open=opened)
        return GetMessageClass(self.method.input_type)()

    @property
    def needs(self) -> AccessRequest | None:
        """What its caller must be allowed; None: to be authenticated."""
        if self.name == REPORT:
            kind, _, ident = DAEMON.partition(".")
            return AccessRequest(JOIN, "rw", arguments={"type": kind, "id": ident})
        return access_request(self.name, self.request)


def calls() -> Iterator[Call]:
    """Every method of our services, in the order of the table of gates."""
    methods = {
        f"/{service.full_name}/{method.name}": method
        for file in FILES
        for service in file.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    for name in RULES:
        if name in methods:
            yield Call(name, methods[name])


def caller(name: str) -> Caller:
    """The caller that is called so on the page."""
    return Caller(NAMES.get(name, name), "127.0.0.1")


def records() -> dict[str, str]:
    """What a cluster stores in which these callers are as the page says."""
    entries = {KEYS.access_of(NAMES.get(name, name)): caps for name, caps in CAPS.items() if caps}
    return {KEYS.protection: encode(Protection(admin="ops")), **entries}


class _Stored:
    """A ``Reader`` of ``records``."""

    def __init__(self) -> None:
        self._records = {
            key: Record(key, value, Revision(1), Revision(1)) for key, value in records().items()
        }

    def get(self, key: str) -> Record | None:
        return self._records.get(key)

    def list(self, prefix: str) -> dict[str, Record]:
        return {key: each for key, each in self._records.items() if key.startswith(prefix)}

    def age_s(self) -> float:
        return 0.0


ACCESS = Access(_Stored(), KEYS)


def may(name: str, needed: AccessRequest | None) -> bool:
    """Whether the caller ``name`` of the page may do what needs ``needed``."""
    if name in NOT_CONNECTED:
        return False
    return needed is None or ACCESS.is_allowed(caller(name), needed)


class _View:
    """A view in which another manager leads, and the table is that of the page."""

    access = ACCESS

    def age_s(self) -> float:
        return 0.1

    def leader(self) -> Any:
        return SimpleNamespace(name="b", http_address="b:7480", term=1)

    def services(self) -> dict[str, str]:
        return {"hello": "http://b:1/"}


async def http_statuses(name: str) -> dict[str, int | None]:
    """What the caller ``name`` gets for each path; None if TLS does not let it in.

    HTTP asks for a certificate and demands none, so that one without comes in.
    """
    paths = {path: path.replace("{module}", "hello").replace("{path:path}", "") for path in PAGES}
    if name in NOT_CONNECTED and name != "no certificate":
        return dict.fromkeys(paths)
    certificate = b""
    if name in CAPS:
        pem, _ = Authority().issue(NAMES.get(name, name))
        certificate = ssl.PEM_cert_to_DER_cert(pem.decode())
    view: Any = _View()
    application = HttpPages(
        "a",
        "pretended",
        role_of=lambda: SimpleNamespace(state="standby"),
        view=view,
        registry=CollectorRegistry(),
        fresh_s=5,
        certificates=True,
    ).application()

    async def status(path: str) -> int:
        scope = {
            "type": "http",
            "method": "GET",
            "path": path,
            "query_string": b"",
            "headers": [],
            "scheme": "https",
            "client": ("10.0.0.1", 1),
            "server": ("a", 7480),
            "state": {CERTIFICATE: certificate},
        }
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            return {"type": "http.request"}

        await application(scope, receive, send)
        return int(sent[0]["status"])

    return {path: await status(asked) for path, asked in paths.items()}

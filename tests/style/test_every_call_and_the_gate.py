"""No road out of a worker is forgotten: every gRPC method and HTTP route has a rule.

That the gated ones are refused under a shut gate is shown in ``tests/integration/rpc/test_gate.py``
and ``tests/unit/http/test_pages.py``, which go through the same tables.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Any

from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from prometheus_client import CollectorRegistry

from mgr.http.app import RULES as HTTP_RULES
from mgr.http.app import HttpPages
from mgr.rpc import server
from mgr.rpc.gated import RULES, Gating
from mgr.rpc.v1 import certificate_pb2, cluster_pb2, command_pb2, manager_pb2

FILES = (certificate_pb2, cluster_pb2, command_pb2, manager_pb2, health_pb2, reflection_pb2)
OPEN = {
    "/mgr.rpc.v1.ManagerService/GetStatus",
    "/mgr.rpc.v1.ManagerService/WatchActive",
    "/mgr.rpc.v1.CertificateService/Sign",
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
    "/grpc.health.v1.Health/List",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
}
"""What answers without the gate. One more is one more answer of a term that may be over: think."""


def methods(files: tuple[Any, ...] = FILES) -> Iterator[tuple[str, Any]]:
    """Every method of every service, by the name under which it is called."""
    for file in files:
        for service in file.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                yield f"/{service.full_name}/{method.name}", method


def test_every_method_of_every_service_has_a_rule():
    """A new one is refused by this test until somebody has thought about the gate."""
    # Releases of grpcio-health-checking differ in what they have.
    gone = {name for name in RULES if name.startswith("/mgr.")} - {name for name, _ in methods()}

    assert {name for name, _ in methods()} - RULES.keys() == set()
    assert gone == set()


def test_every_service_that_is_served_is_looked_at():
    """Our own are those that health and reflection name."""
    ours = {service for name, _ in methods() if (service := name.split("/")[1]).startswith("mgr.")}

    assert ours == set(server.SERVICES)


def test_what_is_open_is_written_down_twice():
    """A gated method made an open one changes this test as well."""
    assert {name for name, rule in RULES.items() if rule.gating is Gating.OPEN} == OPEN


def test_the_kind_of_a_rule_fits_the_method():
    """A stream under the rule of a unary call would never be asked again after its beginning."""
    unary = {Gating.READ, Gating.CHANGE, Gating.COMMAND}
    for name, method in methods():
        gating = RULES[name].gating
        streams = method.client_streaming or method.server_streaming
        assert gating is Gating.OPEN or (gating not in unary) == streams, name
        assert RULES[name].why, name


def test_every_page_has_a_rule():
    """What the manager's own HTTP port answers."""
    pages = HttpPages(
        "a",
        "rome",
        role_of=lambda: types.SimpleNamespace(state="standby"),
        view=types.SimpleNamespace(access=types.SimpleNamespace(tokens=None)),
        registry=CollectorRegistry(),
        fresh_s=5,
    )

    routes = [route.path for route in pages.application().routes]

    assert routes == list(HTTP_RULES)

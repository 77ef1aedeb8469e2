"""Answers what modules ask about managers and daemons, in Ceph's shapes.

Everything here runs on the modules' own threads and reads data that the loop writes. It takes no
lock: values are replaced as a whole, and dictionaries are copied in one step before they are
iterated over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final
from weakref import WeakKeyDictionary

from mgr.cluster.counters import Counter, Kind, Schema, Unit
from mgr.cluster.daemon import Daemon
from mgr.cluster.fleet import Fleet
from mgr.cluster.frozen import FrozenDict, freeze
from mgr.cluster.owned import owned
from mgr.election.records import Presence
from mgr.host.cluster_view import ClusterView
from mgr.host.counter_reader import CounterReader
from mgr.module_api.ceph.release import RELEASE, version_line
from mgr.module_api.parts.counters import CountersMixin

MANAGER: Final = "mgr"
METADATA: Final = "_metadata"
CEPH_DAEMONS: Final = ("mon", "osd", "mds")
"""Types of a Ceph cluster's daemons whose metadata is known."""

TYPES: Final = {
    Kind.GAUGE: 0,
    Kind.COUNTER: CountersMixin.PERFCOUNTER_COUNTER,
    Kind.AVERAGE: CountersMixin.PERFCOUNTER_LONGRUNAVG,
    Kind.HISTOGRAM: CountersMixin.PERFCOUNTER_HISTOGRAM,
}
"""Ceph's bits for the kind of a counter; the bit for the type of its values is added to them."""


class FleetReader:
    """Reads managers and daemons. May be called from any thread.

    The caller may change what it gets. Managers are read from their presence records, all other
    daemons from their reports.
    """

    def __init__(
        self,
        view: ClusterView,
        fleet: Fleet,
        of_ceph: Callable[[str], Mapping[str, Any]] = lambda _name: {},
    ) -> None:
        """Read the managers from ``view`` and the daemons from ``fleet``.

        Those of a real Ceph cluster, which do not report here, are in its documents ``of_ceph``.
        """
        self._view = view
        self._of_ceph = of_ceph
        self._fleet = fleet
        self._daemons = fleet.daemons
        self._schema_documents: dict[bool, WeakKeyDictionary[Schema, FrozenDict]] = {
            False: WeakKeyDictionary(),
            True: WeakKeyDictionary(),
        }
        self._hosts: tuple[int, dict[str, list[dict[str, str]]]] = (-1, {})
        counters = CounterReader(fleet.daemons)
        self.get_counter = counters.get_counter
        self.get_latest_counter = counters.get_latest_counter
        self.get_latest_labelled_counter = counters.get_latest_labelled_counter

    def get_servers(self) -> list[dict[str, Any]]:
        """See ``mgr.module_api.context``."""
        services = {
            host: [owned(each) for each in found] for host, found in self._services().items()
        }
        for presence in self._view.presences():
            line = version_line(presence.version)
            service = {"type": MANAGER, "id": presence.name, "ceph_version": line}
            services.setdefault(presence.host, []).append(service)
        for kind in CEPH_DAEMONS:
            for name, of in self._of_ceph(kind + METADATA).items():
                if f"{kind}.{name}" not in self._daemons:
                    version = of.get("ceph_version", "")
                    service = {"type": kind, "id": name, "ceph_version": version}
                    services.setdefault(of.get("hostname", ""), []).append(service)
        return [
            {
                "hostname": host,
                "services": found,
                "ceph_version": found[-1]["ceph_version"],
            }
            for host, found in sorted(services.items())
        ]

    def get_metadata(self, kind: str, name: str) -> dict[str, str]:
        """See ``mgr.module_api.context``."""
        if kind == MANAGER:
            presence = self._manager(name)
            return metadata(presence) if presence else {}
        daemon = self._daemons.get(f"{kind}.{name}")
        if daemon is None:
            return dict(self._of_ceph(kind + METADATA).get(name, {}))
        member = daemon.record
        return {
            "ceph_version": member.version,
            "ceph_version_short": member.version,
            **member.metadata,
            "hostname": member.host,
        }

    def get_daemon_status(self, kind: str, name: str) -> dict[str, str] | None:
        """See ``mgr.module_api.context``."""
        if kind == MANAGER:
            return {} if self._manager(name) else None
        daemon = self._daemons.get(f"{kind}.{name}")
        return None if daemon is None else dict(daemon.status)

    def get_daemon_health_metrics(self) -> dict[str, list[dict[str, Any]]]:
        """See ``mgr.module_api.context``."""
        found: dict[str, list[dict[str, Any]]] = {
            f"{MANAGER}.{presence.name}": [] for presence in self._view.presences()
        }
        for daemon in self._all():
            found[daemon.name] = [
                {"type": metric.code, "value": metric.value} for metric in daemon.metrics
            ]
        return found

    def get_perf_schema(self, kind: str, name: str, *, labelled: bool) -> dict[str, dict[str, Any]]:
        """See ``mgr.module_api.context``."""
        found = {
            daemon.name: self._schema_document(daemon.ring.schema, labelled=labelled)
            for daemon in self._matching(kind, name)
        }
        return {daemon: owned(document) for daemon, document in found.items() if document}

    # -- inside ---------------------------------------------------------------------------------

    def _all(self) -> list[Daemon]:
        # Copied in one step of the interpreter: the loop may add a daemon meanwhile.
        return list(self._daemons.values())

    def _matching(self, kind: str, name: str) -> Iterable[Daemon]:
        if kind and name:
            daemon = self._daemons.get(f"{kind}.{name}")
            return [daemon] if daemon else []
        return [
            daemon
            for daemon in self._all()
            if kind in {"", daemon.kind} and name in {"", daemon.id}
        ]

    def _services(self) -> dict[str, list[dict[str, str]]]:
        """Return the daemons of each host; cached until a daemon joins, leaves or changes."""
        generation, hosts = self._hosts
        if generation != self._fleet.generation:
            generation, hosts = self._fleet.generation, {}
            for daemon in sorted(self._all(), key=lambda daemon: daemon.name):
                member = daemon.record
                line = member.metadata.get("ceph_version", member.version)
                service = {"type": daemon.kind, "id": daemon.id, "ceph_version": line}
                if "id" in member.metadata:
                    service["name"] = member.metadata["id"]
                hosts.setdefault(member.host, []).append(freeze(service))
            self._hosts = generation, hosts
        return hosts

    def _schema_document(self, schema: Schema, *, labelled: bool) -> FrozenDict:
        """Return ``schema`` in Ceph's shape; made once for all daemons that share it."""
        known = self._schema_documents[labelled].get(schema)
        if known is None:
            document = _families(schema) if labelled else _paths(schema)
            known = self._schema_documents[labelled][schema] = freeze(document)
        return known

    def _manager(self, name: str) -> Presence | None:
        return next((each for each in self._view.presences() if each.name == name), None)


def _paths(schema: Schema) -> dict[str, Any]:
    counters = [slot.counter for slot in schema.slots]
    return {each.path: _description(each) for each in counters if not each.labels}


def _families(schema: Schema) -> dict[str, Any]:
    found: dict[str, dict[Any, dict[str, Any]]] = {}
    for slot in schema.slots:
        counter = slot.counter
        families = found.setdefault(counter.group, {})
        empty: dict[str, Any] = {"labels": dict(counter.labels), "counters": {}}
        family = families.setdefault(counter.labels, empty)
        family["counters"][counter.name] = _description(counter)
    return {group: list(families.values()) for group, families in found.items()}


def _description(counter: Counter) -> dict[str, Any]:
    timed = counter.unit is Unit.SECONDS
    document: dict[str, Any] = {
        "description": counter.description,
        "type": TYPES[counter.kind]
        | (CountersMixin.PERFCOUNTER_TIME if timed else CountersMixin.PERFCOUNTER_U64),
        "priority": counter.priority,
        "units": CountersMixin.BYTES if counter.unit is Unit.BYTES else CountersMixin.NONE,
    }
    if counter.nick:
        document["nick"] = counter.nick
    if counter.bounds:
        document["bounds"] = list(counter.bounds)
    return document


def metadata(presence: Presence) -> dict[str, str]:
    """Return a manager's metadata, under the names that Ceph's daemons use."""
    return {
        "addr": presence.grpc_address,
        "addrs": presence.grpc_address,
        "ceph_release": RELEASE,
        "ceph_version": version_line(presence.version),
        "ceph_version_short": presence.version,
        "hostname": presence.host,
        "http_address": presence.http_address,
        "incarnation": presence.incarnation,
        "pid": str(presence.pid),
        "started_at": presence.started_at,
    }

"""Keeps the documents that modules read in step with what they show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from mgr.active.documents import documents
from mgr.active.documents.documents import Documents
from mgr.active.documents.fleet_documents import FleetDocuments
from mgr.active.modules.modules import ActiveModules
from mgr.cluster.fleet import Fleet
from mgr.cluster.frozen import freeze
from mgr.config.enabled_modules import forced_off_modules
from mgr.election.records import Leader, decode
from mgr.health.board import Board
from mgr.host.cluster_view import LeaderView
from mgr.host.context import mgr_ips
from mgr.host.finder import always_on
from mgr.host.worker_context import WorkerContext
from mgr.module_api.ceph.release import RELEASE

MGR_MAP: Final = "mgr_map"
HEALTH: Final = "health"
FLEET_STATUS: Final = "fleet_status"
CONFIG: Final = ("config", "modified_config_options")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What the documents are made of."""

    manager: WorkerContext
    modules: ActiveModules
    board: Board
    fleet: Fleet
    term: int
    http_address: str
    available: Callable[[], bool]


class Publisher:
    """Makes ``documents`` and makes each anew when what it shows has changed."""

    def __init__(self, sources: Sources) -> None:
        """Publish everything once."""
        self._sources = sources
        manager = sources.manager
        self._available_modules = self._available()
        self._last_map: dict[str, Any] = {}
        self._epoch = 0
        native = manager.config.schemas.manager_options
        self.documents = Documents(
            {
                MGR_MAP: self._mgr_map,
                FLEET_STATUS: sources.fleet.as_document,
                HEALTH: lambda: documents.health(sources.board.as_document()),
                "mgr_ips": lambda: mgr_ips(sources.http_address),
                "config": lambda: documents.config(
                    {name: spec.default_text for name, spec in native.items()},
                    manager.config.effective_values,
                ),
                "config_options": lambda: {
                    "options": [spec.describe() for spec in native.values()]
                },
                "modified_config_options": lambda: {
                    "options": sorted({option.name for option in manager.config.dump()})
                },
            },
            FleetDocuments(sources.fleet, manager.mirror, manager.keys).get,
        )

    def follow(self) -> list[Callable[[], None]]:
        """Watch everything the documents show; returns what ends that."""
        mirror, keys = self._sources.manager.mirror, self._sources.manager.keys
        self._sources.board.on_change(lambda: self.documents.mark_changed(HEALTH))
        shown_in_map = (keys.leader, keys.managers, keys.services, keys.modules)
        return [
            mirror.subscribe(keys.config, lambda _: self.documents.mark_changed(*CONFIG)),
            *(mirror.subscribe(prefix, self.map_changed) for prefix in shown_in_map),
        ]

    def modules_changed(self) -> None:
        """Make ``mgr_map`` anew: there are other modules on this host."""
        self._available_modules = self._available()
        self.map_changed()

    def map_changed(self, _changes: object = None) -> None:
        """Make ``mgr_map`` anew."""
        self.documents.mark_changed(MGR_MAP)

    def mgr_map(self) -> dict[str, Any]:
        """``mgr_map`` as it is at this moment. On the loop only."""
        found: dict[str, Any] = self.documents.current(MGR_MAP)
        return found

    def _available(self) -> Any:
        # The largest part of the map by far, made once: this host's disk changes rarely.
        manager = self._sources.manager
        return freeze(documents.available_modules(manager.catalogue, manager.config.schemas.of))

    def _mgr_map(self) -> dict[str, Any]:
        shown = self._map_without_epoch()
        if shown != self._last_map:
            # A revision, so that it goes on growing under the next active without being stored.
            self._epoch = max(self._sources.manager.mirror.revision, self._epoch + 1)
            self._last_map = shown
        return {**shown, "epoch": self._epoch}

    def _map_without_epoch(self) -> dict[str, Any]:
        sources, manager = self._sources, self._sources.manager
        always = always_on(manager.catalogue)
        switches = manager.mirror.list(manager.keys.modules).values()
        return documents.mgr_map(
            epoch=0,
            # Ceph restarts its manager where modules are switched, and what was written for it
            # waits for another incarnation. Both numbers are revisions, so it always grows.
            incarnation=max(sources.term, *(switch.mod_revision for switch in switches), 0),
            available=sources.available(),
            leader=self._leader(),
            presences=manager.view.presences(),
            enabled=[name for name in sources.modules.enabled if name not in always],
            forced_off=forced_off_modules(manager.mirror, manager.keys),
            available_modules=self._available_modules,
            services=manager.view.services(),
            always_on={RELEASE: sorted(always)},
        )

    def _leader(self) -> LeaderView:
        # Not the view's: that one says "nobody" while the store is silent, and a map that a
        # module reads should go on showing what was last known.
        manager = self._sources.manager
        record = manager.mirror.get(manager.keys.leader)
        leader = decode(record.value, Leader) if record else None
        if leader is None:
            return LeaderView(manager.id, manager.incarnation, "", "", "", self._sources.term, "")
        return LeaderView(
            name=leader.name,
            incarnation=leader.incarnation,
            grpc_address=leader.grpc_address,
            http_address=leader.http_address,
            version=leader.version,
            term=self._sources.term,
            since=leader.since,
        )

"""Updates the documents that modules read whenever the data they show changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from mgr.active.documents import documents
from mgr.active.documents.documents import Documents
from mgr.active.documents.fleet_documents import FleetDocuments
from mgr.active.modules.ceph_commands import MODULE as CEPH
from mgr.active.modules.modules import ActiveModules
from mgr.active.term_context import TermContext
from mgr.cluster.fleet import Fleet
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


class Publisher:
    """Makes ``documents`` and makes each again when the data it shows has changed."""

    def __init__(
        self,
        manager: WorkerContext,
        term_context: TermContext,
        *,
        modules: ActiveModules,
        board: Board,
        fleet: Fleet,
        available: Callable[[], bool],
    ) -> None:
        """Publish every document once; ``available`` is called when ``mgr_map`` is made."""
        self._manager = manager
        self._term_context = term_context
        self._modules = modules
        self._board = board
        self._is_available = available
        self._available_modules = self._available()
        self._last_map: dict[str, Any] = {}
        self._epoch = 0
        schemas = manager.config.schemas
        native = schemas.manager_options
        self.documents = Documents(
            {
                MGR_MAP: self._mgr_map,
                FLEET_STATUS: fleet.as_document,
                HEALTH: lambda: documents.health(board.as_document()),
                "mgr_ips": lambda: mgr_ips(term_context.http_address),
                "config": lambda: documents.config(
                    {name: spec.default_text for name, spec in native.items()},
                    manager.config.effective_values,
                ),
                "config_options": lambda: term_context.declared.config_options(schemas),
                "modified_config_options": lambda: {
                    "options": sorted({option.name for option in manager.config.dump()})
                },
            },
            FleetDocuments(fleet, manager.mirror, manager.keys).get,
            fsid=str(manager.config.manager_option("fsid")),
        )

    def follow(self) -> None:
        """Update the documents, from now on, when the data they show changes."""
        mirror, keys = self._manager.mirror, self._manager.keys
        self._board.on_change(lambda: self.documents.mark_changed(HEALTH))
        self._manager.config.subscribe(lambda _: self.documents.mark_changed(*CONFIG))
        for prefix in (keys.leader, keys.managers, keys.services, keys.modules):
            mirror.subscribe(prefix, self.map_changed)

    def modules_changed(self) -> None:
        """Make ``mgr_map`` again because the modules on this host have changed."""
        self._available_modules = self._available()
        self.map_changed()

    def module_stopped(self, module: str) -> None:
        """Make ``mgr_map`` again; the documents of a Ceph cluster end with its module."""
        if module == CEPH:
            self.documents.drop_ceph()
        self.map_changed()

    def map_changed(self, _changes: object = None) -> None:
        """Make ``mgr_map`` again, before the loop's next turn."""
        self.documents.mark_changed(MGR_MAP)

    def mgr_map(self) -> dict[str, Any]:
        """Return ``mgr_map`` as it is at this moment. On the loop only."""
        found: dict[str, Any] = self.documents.current(MGR_MAP)
        return found

    def _available(self) -> Any:
        # By far the largest part of the map, so it is made only when modules were reloaded.
        manager = self._manager
        declared = self._term_context.declared
        return declared.available_modules(manager.catalogue, manager.config.schemas)

    def _mgr_map(self) -> dict[str, Any]:
        shown = self._map_without_epoch()
        if shown != self._last_map:
            # The store's revision: the epoch then goes on growing under the next active without
            # being stored.
            self._epoch = max(self._manager.mirror.revision, self._epoch + 1)
            self._last_map = shown
        return {**shown, "epoch": self._epoch}

    def _map_without_epoch(self) -> dict[str, Any]:
        manager, term = self._manager, self._term_context.term
        always = always_on(manager.catalogue)
        switches = manager.mirror.list(manager.keys.modules).values()
        return documents.mgr_map(
            epoch=0,
            # Ceph restarts its manager when a module is switched on or off, and code written for
            # ceph-mgr waits for a new incarnation. Term and revisions only grow, so does this.
            incarnation=max(term, *(switch.mod_revision for switch in switches), 0),
            available=self._is_available(),
            leader=self._leader(),
            presences=manager.view.presences(),
            enabled=[name for name in self._modules.enabled if name not in always],
            forced_off=forced_off_modules(manager.mirror, manager.keys),
            available_modules=self._available_modules,
            services=manager.view.services(),
            always_on={RELEASE: sorted(always)},
        )

    def _leader(self) -> LeaderView:
        # Not from the view, which reports no leader while the store does not answer: the map
        # goes on showing the last known one.
        manager, term = self._manager, self._term_context.term
        record = manager.mirror.get(manager.keys.leader)
        leader = decode(record.value, Leader) if record else None
        if leader is None:
            return LeaderView(manager.id, manager.incarnation, "", "", "", term, "")
        return LeaderView(
            name=leader.name,
            incarnation=leader.incarnation,
            grpc_address=leader.grpc_address,
            http_address=leader.http_address,
            version=leader.version,
            term=term,
            since=leader.since,
        )

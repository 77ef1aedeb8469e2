"""The objects of one term that the active's helpers and its modules share."""

from __future__ import annotations

from dataclasses import dataclass

from mgr.active.documents.documents import Documents
from mgr.active.fleet.counter_rows import CounterRowReader
from mgr.active.fleet.reader import FleetReader
from mgr.active.modules.background_commands import BackgroundCommands, Execute
from mgr.active.modules.callers import Callers
from mgr.active.modules.ceph_commands import CephCommands
from mgr.active.modules.modules import ActiveModules
from mgr.active.modules.remote import Remote
from mgr.cluster.fleet import Fleet
from mgr.cluster.log import ClusterLog
from mgr.cluster.maps import Maps
from mgr.cluster.progress import Progress
from mgr.config.history import ConfigHistory
from mgr.health.board import Board
from mgr.host.worker_context import WorkerContext
from mgr.store.api import LeaseId
from mgr.store.fenced import FencedStore


@dataclass(frozen=True, slots=True, kw_only=True)
class TermParts:
    """Everything that belongs to one term; ``ActiveRole`` makes it once.

    Only the event loop may use it. Exceptions: the reading methods of ``maps``, ``fleet_reader``
    and ``counter_rows``, and ``remote``, may be called from any thread.

    Attributes:
        lease: The node lease; published addresses are attached to it.
        execute: Runs a command as if a client had sent it.
        ceph_commands: Runs commands of modules, which may be meant for a Ceph cluster.
        ceph_documents: Takes the documents of that cluster.

    """

    manager: WorkerContext
    fenced: FencedStore
    history: ConfigHistory
    lease: LeaseId
    maps: Maps
    modules: ActiveModules
    fleet: Fleet
    fleet_reader: FleetReader
    counter_rows: CounterRowReader
    background_commands: BackgroundCommands
    board: Board
    log: ClusterLog
    progress: Progress
    remote: Remote
    callers: Callers
    ceph_commands: CephCommands
    ceph_documents: Documents
    execute: Execute

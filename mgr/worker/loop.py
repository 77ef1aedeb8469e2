"""The worker: composition root of the child process.

The messages from the guard decide what the worker does. ``run`` and ``Worker._promote`` construct
and start everything that runs in this process. A worker leads at most once: after its term it
exits and never becomes a standby again, because the threads of its modules cannot be ended. What
the active starts is in ``mgr/active/role.py``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from dataclasses import dataclass
from functools import partial
from typing import Final, NoReturn

from mgr.active.documents.declared import DeclaredDocuments
from mgr.active.modules.declared_commands import DeclaredCommands
from mgr.active.role import ActiveRole
from mgr.active.term_context import EarlierTerms, TermContext
from mgr.client_limits import ClientLimits
from mgr.clock import CLOCK
from mgr.config.enabled_modules import enabled_modules
from mgr.config.installed_modules import module_folders
from mgr.config.worker_deaths import quarantine_reason
from mgr.connection import connect, key_wrapper
from mgr.errors import FencedError
from mgr.host.cluster_view import ClusterView
from mgr.host.finder import Catalogue, find_modules, module_reports
from mgr.host.imports import import_enabled
from mgr.host.module_environment import Environments
from mgr.host.package_follower import bring_up_packages, with_packages
from mgr.host.reload import ReloadFollower
from mgr.host.role import Role
from mgr.host.secret_keys import secret_keys
from mgr.host.server_tls import ServerTls
from mgr.host.worker_context import WorkerContext, stored_config
from mgr.http import server as http
from mgr.link import (
    ActsOutside,
    CheckCertificates,
    Drain,
    Drained,
    ExtendDeadline,
    Fenced,
    FromGuard,
    Init,
    LeadershipReleased,
    ModulesChanged,
    PhaseChanged,
    Prepare,
    Promote,
    Ready,
    Resign,
    Shutdown,
    Started,
    TimeLimited,
)
from mgr.metrics import Metrics
from mgr.module_process.declarations import Declarations
from mgr.module_process.load_order import LoadOrder
from mgr.module_process.processes import ModuleProcesses
from mgr.module_process.start import spawn_zygote
from mgr.module_process.zygote_end import ZygoteEnd
from mgr.rpc import server as grpc
from mgr.settings import Settings
from mgr.store.api import Revision
from mgr.store.endpoint_health import EndpointHealth
from mgr.store.etcd import EtcdStore
from mgr.store.keys import Keys
from mgr.store.mirror import Mirror
from mgr.store.sealed_store import SealedStore
from mgr.store.space import StoreSpace
from mgr.waiting import wait
from mgr.worker.audit_sinks import start_audit_sinks
from mgr.worker.catch_up import wait_for_revision
from mgr.worker.certificates import ManagerCertificates, make_signer, with_protection
from mgr.worker.endpoint_checks import check_endpoints
from mgr.worker.gate import Gate
from mgr.worker.guard_link import STARTED_S, Ages, GuardLink, exit_now
from mgr.worker.measurements import measure
from mgr.worker.memory import give_memory_back
from mgr.worker.starting import Starting
from standby.role import StandbyRole

HAND_OVER_GRACE_S: Final = 0.5
"""How long answers may take to be sent after leadership was released."""
ABORT_GRACE_S: Final = 0.1
"""The same after leadership was lost: the guard kills a worker that takes half a second."""
CHECK_GATE_EVERY_S: Final = 0.5
"""The longest interval of checks whether the gate has closed by itself."""
DOWN: Final = "set down: nobody leads until 'mgrctl mgr set down false'"
FIRST: Final = Revision(1)
"""The lowest revision: every etcd is at this one or later."""

log = logging.getLogger(__name__)


async def run(
    settings: Settings,
    init: Init,
    guard_link: GuardLink,
    tasks: asyncio.TaskGroup,
    zygote: ZygoteEnd,
) -> None:
    """Become a warm standby, then act on the guard's messages. Everything runs in ``tasks``."""
    processes = ModuleProcesses(tasks, spawn_zygote, zygote, Environments.of(settings))
    declarations = _declarations(settings, processes)
    keys, endpoints, metrics = Keys(settings.cluster), EndpointHealth(), Metrics()
    etcd = _measured(connect(settings, init.store), metrics)
    store = _sealed(settings, etcd, keys)
    mirror, limits = Mirror(store, keys.root, CLOCK), ClientLimits(CLOCK.now, metrics.registry)
    ttl_s, newest_term = settings.lease_ttl_s, init.store.newest_term
    view = ClusterView(mirror, keys, CLOCK, ttl_s, newest_term=newest_term)
    starting, tls = Starting(mirror), ServerTls.of(settings)
    # Before etcd has answered: what watches this process must not take its absence for ours.
    serve_pages = partial(http.serve, settings, view=view, registry=metrics.registry, tls=tls)
    why_not_ready = starting.why_not_ready
    pages = await serve_pages(
        role_of=lambda: starting.role, limits=limits, tasks=tasks, why_not_ready=why_not_ready
    )
    metrics.set_role(starting.role.state)
    space = StoreSpace(keys, settings.etcd_quota_bytes)
    sinks = start_audit_sinks(settings, guard_link, tasks)
    tasks.create_task(check_endpoints(etcd, endpoints, space), name="check endpoints")
    tasks.create_task(mirror.run(), name="mirror")
    # Before the imports, so that a reload during the imports is recognised as newer.
    await wait_for_revision(mirror, FIRST)
    since, catalogue = mirror.revision, await _find_modules(settings, init, mirror, declarations)
    config = stored_config(settings, mirror, keys, catalogue)
    manager = WorkerContext(
        settings=settings,
        incarnation=init.incarnation,
        store=store,
        mirror=mirror,
        keys=keys,
        clock=CLOCK,
        catalogue=dict(catalogue),
        config=config,
        view=view,
        metrics=metrics,
        limits=limits,
        space=space,
        identity=etcd.identity,
        unstored_quarantines=init.quarantined,
        endpoints=endpoints,
        audit_sinks=sinks,
        processes=processes,
        declarations=declarations,
        signer=make_signer(settings, mirror, keys, config, view, tls),
    )
    store.is_secret = secret_keys(keys, config, manager.catalogue)
    processes.enforce_limits(config, CLOCK, settings.module_cgroup)
    await import_enabled(manager)
    worker = Worker(manager, guard_link, tasks, ReloadFollower(manager, since), starting, tls)
    await worker.open(pages)


def _declarations(settings: Settings, processes: ModuleProcesses) -> Declarations:
    order = LoadOrder(settings.log_level, settings.log_format, settings.id)
    return Declarations(processes, order, limit_s=settings.module_load_s)


def _measured(etcd: EtcdStore, metrics: Metrics) -> EtcdStore:
    etcd.on_request = metrics.etcd.observe
    return etcd


def _sealed(settings: Settings, etcd: EtcdStore, keys: Keys) -> SealedStore:
    wrapper = key_wrapper(settings)
    return SealedStore(etcd, keys, wrapper, skip_unreadable=settings.seal_skip_unreadable)


async def _find_modules(
    settings: Settings, init: Init, mirror: Mirror, declarations: Declarations
) -> Catalogue:
    keys = Keys(settings.cluster)
    failures = await bring_up_packages(settings, mirror, keys)
    reason = partial(quarantine_reason, mirror, keys)
    found = await find_modules(
        module_folders(settings),
        skip=settings.bundled_skip,
        limit_s=settings.module_load_s,
        quarantine_reason=lambda name: reason(name) or init.quarantined.get(name, ""),
        declare=declarations.read,
        first=enabled_modules(mirror, keys, frozenset(), ()),
        elapsed_s=CLOCK.now() - STARTED_S,
    )
    return with_packages(settings, found, failures)


@dataclass(frozen=True, slots=True)
class Servers:
    """The open ports."""

    grpc: grpc.GrpcServer
    http: http.HttpServer


class Worker:
    """A worker from warm standby to its exit; it may lead once in between."""

    def __init__(
        self,
        manager: WorkerContext,
        guard_link: GuardLink,
        tasks: asyncio.TaskGroup,
        reloads: ReloadFollower,
        starting: Starting,
        tls: ServerTls | None = None,
    ) -> None:
        """Construct a standby; ``open`` makes it reachable."""
        self._manager = manager
        self._guard_link = guard_link
        self._tasks = tasks
        self._gate = Gate(CLOCK, manager.view.leader)
        manager.view.term_is_valid = self._gate.claims
        manager.mirror.subscribe(manager.keys.leader, self._compare_terms)
        self._reloads = reloads
        self._starting = starting
        self._standby = StandbyRole(manager, tasks, self._send_module_reports)
        self._active: ActiveRole | None = None
        self._declared, self._commands = DeclaredDocuments(), DeclaredCommands()
        self._servers: Servers | None = None
        self._tls = tls
        self._check_files = tls.check_soon if tls is not None else lambda: None
        self._serving = self._draining = False
        self._note = ""
        measure(manager)
        guard_link.on_lag = manager.metrics.loop_lag_s.observe
        self._prepared: asyncio.Task[ActiveRole] | None = None
        self._promoted_s: float | None = None
        self._time_limited = asyncio.Event()
        guard_link.ages = self._ages

    async def open(self, pages: http.HttpServer) -> None:
        """Open the gRPC port, start the role of a standby, and send ``Ready`` to the guard.

        ``pages`` is the HTTP port, which is open already.
        """
        manager = self._manager
        certificates = ManagerCertificates(manager, self._tls)
        found = await certificates.reports()
        opened = self._servers = Servers(
            await grpc.serve(
                manager.settings,
                role_of=self._role,
                view=manager.view,
                gate=self._gate,
                clock=CLOCK,
                incarnation=manager.incarnation,
                note_of=self._status_note,
                limits=manager.limits,
                tls=self._tls,
                tasks=self._tasks,
                signer=manager.signer,
            ),
            pages,
        )
        self._starting.role = self._standby
        self._guard_link.on_message = self._on_guard_message
        self._tasks.create_task(self._follow_gate(), name="follow gate")
        self._tasks.create_task(self._standby.run(opened.http.address), name="standby")
        self._tasks.create_task(self._follow_reloads(), name="reloads")
        self._tasks.create_task(give_memory_back(), name="give memory back")
        # First: whoever is called warm may be the next to take over.
        self._preload_active_role(opened.http.address)
        self._guard_link.send(
            Ready(
                grpc_address=opened.grpc.address,
                http_address=opened.http.address,
                modules=module_reports(manager.catalogue),
                join_address=opened.grpc.join_address,
                certificates=found.certificates,
                signs=found.signs,
            )
        )
        certificates.start(self._tasks, self._guard_link)
        log.info("standby ready", extra={"grpc": opened.grpc.address, "http": opened.http.address})

    def _preload_active_role(self, http_address: str) -> None:
        """Construct the active role once and drop it, so that a failover is not the first time.

        That loads code and makes documents. A role that cannot be constructed fails here, early.
        """
        nobody = TermContext(
            term=0,
            lease=0,
            http_address=http_address,
            gate=self._gate,
            resign=lambda _why, _to, _by: None,
            on_fenced=lambda _error: None,
            declared=self._declared,
            commands=self._commands,
        )
        ActiveRole(self._manager, nobody, self._tasks)

    def _ages(self) -> Ages:
        mirror_s = self._manager.mirror.age_s()
        if self._active is not None:
            write_s: float | None = self._active.proof.age_s()
        else:
            # From the promotion on, also while the active role cannot be constructed.
            write_s = None if self._promoted_s is None else CLOCK.now() - self._promoted_s
        return Ages(write_s, mirror_s if math.isfinite(mirror_s) else None)

    def _role(self) -> Role:
        return self._active or self._standby

    def _status_note(self) -> str:
        """Why this manager does not lead or does not act, for operators; empty if there is none."""
        down = self._manager.mirror.get(self._manager.keys.down) is not None
        return with_protection(self._note or (DOWN if down else ""), self._manager.settings)

    # -- messages from the guard ----------------------------------------------------------------

    def _on_guard_message(self, message: FromGuard) -> None:
        match message:
            case Prepare():
                self._prepared = self._tasks.create_task(self._prepare(message), name="prepare")
            case Promote():
                self._promoted_s = CLOCK.now()
                self._gate.extend(message.term, message.deadline_s)
                self._tasks.create_task(self._promote(message), name="promote")
            case ExtendDeadline():
                self._gate.extend(message.term, message.deadline_s)
            case TimeLimited():
                self._time_limited.set()
            case Drain():
                self._draining = True
                self._gate.drain()
                self._tasks.create_task(self._drain(message), name="drain")
            case LeadershipReleased():
                self._tasks.create_task(self._finish_hand_over(message), name="finish hand-over")
            case CheckCertificates():
                self._check_files()
            case Shutdown():
                self._tasks.create_task(self._shut_down(message.reason), name="shutdown")
            case PhaseChanged():
                self._on_phase_changed(message)

    def _on_phase_changed(self, message: PhaseChanged) -> None:
        self._note = message.note
        if self._active is not None:
            self._active.term_log.phase_changed(message.phase, message.note)

    async def _prepare(self, message: Prepare) -> ActiveRole:
        """Make the role of the active from everything that was written before; nothing acts yet.

        Meanwhile the guard opens the term record.
        """
        stopping = self._tasks.create_task(self._standby.stop(), name="stop standby")
        await wait_for_revision(self._manager.mirror, Revision(message.term))
        await stopping
        # Usually there is nothing to reload; but a failover must never return to older code.
        await self._apply_reloads()
        if self._servers is None:
            raise AssertionError("only a standby with open ports campaigns")
        term_context = TermContext(
            term=message.term,
            lease=message.lease,
            http_address=self._servers.http.address,
            gate=self._gate,
            resign=lambda why, to, by: self._guard_link.send(
                Resign(reason=why, successor=to, asked_by=by)
            ),
            on_fenced=self._on_fenced,
            before_external=self._before_external,
            declared=self._declared,
            commands=self._commands,
        )
        return ActiveRole(self._manager, term_context, self._tasks)

    async def _promote(self, message: Promote) -> None:
        """Become the active: start the modules."""
        log.info(
            "promoted to active",
            extra={"term": message.term, "quiesced": message.predecessor_quiesced},
        )
        self._manager.metrics.term.set(message.term)
        if self._prepared is None:
            raise AssertionError("a promotion follows a preparation")
        active = await self._prepared
        if self._draining:
            return
        self._active = active
        self._starting.role = self._active
        self._standby.promote(self._active)
        self._publish_state()
        await active.start(
            EarlierTerms(
                effects_from_s=message.effects_from_s,
                last_end=message.predecessor_end,
                planned=message.planned,
            )
        )
        self._guard_link.send(Started(term=message.term))
        self._publish_state()

    async def _before_external(self) -> None:
        """Request a kill timer from the guard; return once the kernel has it."""
        if self._active is None:
            raise AssertionError("only an active starts modules that act outside")
        if not self._time_limited.is_set():
            self._guard_link.send(ActsOutside(term=self._gate.term, acts=True))
            await self._time_limited.wait()

    def _on_fenced(self, error: FencedError) -> None:
        """Close the gate: the store refused a write because a successor exists."""
        self._gate.end(str(error))
        self._guard_link.send(Fenced(term=error.term))

    def _compare_terms(self, _changes: object) -> None:
        """Close the gate if the mirror shows a newer term. The guard notices that by itself."""
        record = self._manager.mirror.get(self._manager.keys.leader)
        if record is not None and record.create_revision > self._gate.term > 0:
            self._gate.end(f"term {self._gate.term} is over: another manager leads")

    async def _drain(self, drain: Drain) -> None:
        quiesced = self._active is None or await self._active.drain(drain.budget_s)
        self._gate.release()
        self._guard_link.send(Drained(term=drain.term, quiesced=quiesced))

    async def _finish_hand_over(self, released: LeadershipReleased) -> NoReturn:
        """Redirect waiting calls to the successor, once there is one, and exit."""
        manager = self._manager
        others = any(p.warm and p.name != manager.id for p in manager.view.presences())
        if others and manager.mirror.get(manager.keys.down) is None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(manager.settings.hold_s):
                    await self._wait_for_successor(released.term)
        self._gate.end("leadership was released")
        await self._close(HAND_OVER_GRACE_S)
        exit_now(0)

    async def _wait_for_successor(self, term: int) -> None:
        async for leader in self._manager.view.changes():
            if leader is not None and leader.term > term:
                return

    async def _shut_down(self, reason: str) -> NoReturn:
        # A warning only for an active: stopping a standby is an operator's everyday work.
        level = logging.INFO if self._active is None else logging.WARNING
        log.log(level, "worker shutting down", extra={"reason": reason})
        self._gate.end(reason)
        if self._active is not None:
            self._active.abort(reason)
        await self._close(ABORT_GRACE_S)
        exit_now(0)

    async def _close(self, grace_s: float) -> None:
        """Close the servers, with ``grace_s`` for answers under way; gives up after twice that."""
        if self._servers is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2 * grace_s):
                await self._servers.grpc.close(grace_s)
                await self._servers.http.close()

    async def _follow_reloads(self) -> None:
        """Reload modules as the active does, while another manager is active."""
        manager, changed, keys = self._manager, asyncio.Event(), self._manager.keys
        for prefix in (keys.reloads, keys.modules, keys.installed, *keys.of_quarantines):
            manager.mirror.subscribe(prefix, lambda _: changed.set())
        while self._prepared is None:
            changed.clear()
            for name in await self._apply_reloads():
                self._standby.restart_module(name)
            await import_enabled(manager)
            await changed.wait()

    async def _apply_reloads(self) -> list[str]:
        """Reload what the active reloaded; return the modules that have new code now."""
        done = await self._reloads.catch_up()
        if done:
            self._send_module_reports()
        return [name for name, read in done.items() if read]

    def _send_module_reports(self) -> None:
        reports = module_reports(self._manager.catalogue, self._standby.errors)
        self._guard_link.send(ModulesChanged(modules=reports))

    # -- published state ------------------------------------------------------------------------

    async def _follow_gate(self) -> None:
        """Keep the published state equal to the gate's, also when it closes by the clock."""
        while True:
            self._publish_state()
            left_s = self._gate.deadline_s - CLOCK.now()
            pause_s = min(left_s, CHECK_GATE_EVERY_S) if left_s > 0 else CHECK_GATE_EVERY_S
            await wait(self._gate.changed, pause_s)

    def _publish_state(self) -> None:
        serving = self._active is not None and self._gate.accepts()
        if serving != self._serving and self._servers is not None:
            self._serving = serving
            self._servers.grpc.set_serving(serving)
        self._manager.metrics.set_role(self._role().state)

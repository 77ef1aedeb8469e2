"""The worker: composition root of the child process, and the only file that knows all of it.

What the guard says decides what this worker does; what runs in the process can be read off
``run`` and ``_promote``. A worker leads at most once: it ends by exiting, never by stepping back,
because the threads of its modules cannot be ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import socket
from dataclasses import dataclass
from typing import Final, NoReturn

from mgr.active.role import ActiveRole
from mgr.active.term_context import TermContext
from mgr.clock import CLOCK
from mgr.config.values import ConfigValues
from mgr.connection import connect
from mgr.errors import FencedError, StoreUnavailableError
from mgr.host.cluster_view import ClusterView
from mgr.host.finder import find_modules, module_reports
from mgr.host.reload import ReloadFollower
from mgr.host.role import Role
from mgr.host.worker_context import WorkerContext, follow_config, known_options
from mgr.http import server as http
from mgr.link import (
    ActsOutside,
    Drain,
    Drained,
    ExtendDeadline,
    Fenced,
    FromGuard,
    Init,
    LeadershipReleased,
    ModulesChanged,
    PhaseChanged,
    Promote,
    Ready,
    Resign,
    Shutdown,
    Started,
    TimeLimited,
)
from mgr.metrics import Metrics
from mgr.rpc import server as grpc
from mgr.settings import Settings
from mgr.store.api import Revision
from mgr.store.etcd import EtcdStore
from mgr.store.keys import Keys
from mgr.store.mirror import Mirror
from mgr.worker.gate import Gate
from mgr.worker.guard_link import Ages, GuardLink, exit_now
from standby.role import StandbyRole

HAND_OVER_GRACE_S: Final = 0.5
"""How long answers may take to leave once the office is given back."""
ABORT_GRACE_S: Final = 0.1
"""The same when it was lost: the guard kills a worker that takes half a second."""
CHECK_GATE_EVERY_S: Final = 0.5
"""How often to look whether the gate has shut by itself, at most."""
LOG_WAIT_EVERY_S: Final = 10.0
"""After this, say in the log what is waited for, and wait on."""
DOWN: Final = "set down: nobody leads until 'mgrctl mgr set down false'"
CHECK_ENDPOINTS_EVERY_S: Final = 10.0
"""How often to ask every endpoint of etcd which cluster it belongs to."""
FIRST: Final = Revision(1)
"""Any revision: every etcd is at this one or later."""

log = logging.getLogger(__name__)


async def run(
    settings: Settings, init: Init, guard_link: GuardLink, tasks: asyncio.TaskGroup
) -> None:
    """Warm up, say so, and from then on do what the guard says. Everything runs in ``tasks``."""
    keys = Keys(settings.cluster)
    store = connect(settings, init.store)
    mirror = Mirror(store, keys.root, CLOCK)
    tasks.create_task(_check_endpoints(store), name="check endpoints")
    tasks.create_task(mirror.run(), name="mirror")
    # Before the imports, so that what is reloaded while they go on is known to be newer.
    await _wait_for_revision(mirror, FIRST)
    since = mirror.revision
    catalogue = await find_modules(
        settings.module_path, skip=settings.bundled_skip, limit_s=settings.module_load_s
    )
    options = known_options(settings, socket.gethostname(), catalogue)
    config = ConfigValues(settings.id, options, keys)
    follow_config(config, mirror, keys)
    manager = WorkerContext(
        settings=settings,
        incarnation=init.incarnation,
        store=store,
        mirror=mirror,
        keys=keys,
        clock=CLOCK,
        catalogue=dict(catalogue),
        config=config,
        view=ClusterView(
            mirror, keys, CLOCK, settings.lease_ttl_s, newest_term=init.store.newest_term
        ),
        metrics=Metrics(),
        identity=store.identity,
    )
    await Worker(manager, guard_link, tasks, ReloadFollower(manager, since)).open()


@dataclass(frozen=True, slots=True)
class Servers:
    """The open ports."""

    grpc: grpc.GrpcServer
    http: http.HttpServer


class Worker:
    """A warm worker: waits, perhaps leads, and exits."""

    def __init__(
        self,
        manager: WorkerContext,
        guard_link: GuardLink,
        tasks: asyncio.TaskGroup,
        reloads: ReloadFollower,
    ) -> None:
        """Wait as a standby; ``open`` lets others see it."""
        self._manager = manager
        self._guard_link = guard_link
        self._tasks = tasks
        self._gate = Gate(CLOCK, manager.view.leader)
        manager.view.term_is_valid = self._gate.claims
        manager.mirror.subscribe(manager.keys.leader, self._compare_terms)
        self._reloads = reloads
        self._standby = StandbyRole(manager, tasks)
        self._active: ActiveRole | None = None
        self._servers: Servers | None = None
        self._serving = False
        self._draining = False
        self._note = ""
        manager.metrics.measure_mirror(manager.mirror.age_s)
        guard_link.on_lag = manager.metrics.loop_lag_s.observe
        self._promoted_s: float | None = None
        self._time_limited = asyncio.Event()
        guard_link.ages = self._ages

    async def open(self) -> None:
        """Open the ports, start the standby's part and say that this worker is warm."""
        manager = self._manager
        opened = self._servers = Servers(
            await grpc.serve(
                manager.settings,
                role_of=self._role,
                view=manager.view,
                gate=self._gate,
                clock=CLOCK,
                incarnation=manager.incarnation,
                note_of=self._status_note,
            ),
            await http.serve(
                manager.settings,
                role_of=self._role,
                view=manager.view,
                registry=manager.metrics.registry,
                tasks=self._tasks,
            ),
        )
        self._guard_link.on_message = self._on_guard_message
        self._tasks.create_task(self._follow_gate(), name="follow gate")
        self._tasks.create_task(self._standby.run(opened.http.address), name="standby")
        self._tasks.create_task(self._follow_reloads(), name="reloads")
        self._guard_link.send(
            Ready(
                grpc_address=opened.grpc.address,
                http_address=opened.http.address,
                modules=module_reports(manager.catalogue),
            )
        )
        log.info("standby ready", extra={"grpc": opened.grpc.address, "http": opened.http.address})
        self._preload_active_role(opened.http.address)

    def _preload_active_role(self, http_address: str) -> None:
        """Make an active's parts once, for nothing: a failover is not to be the first time.

        Descriptors are parsed and patterns compiled then, and Python has seen the code; the role
        that counts is made in half the time. What cannot be made at all ends a standby here.
        """
        nobody = TermContext(
            term=0,
            lease=0,
            http_address=http_address,
            gate=self._gate,
            resign=lambda _why, _to: None,
            on_fenced=lambda _error: None,
        )
        ActiveRole(self._manager, nobody, self._tasks)

    def _ages(self) -> Ages:
        mirror_s = self._manager.mirror.age_s()
        if self._active is not None:
            write_s: float | None = self._active.proof.age_s()
        else:
            # It leads from when it was told, whether or not anything could be made of that.
            write_s = None if self._promoted_s is None else CLOCK.now() - self._promoted_s
        return Ages(write_s, mirror_s if math.isfinite(mirror_s) else None)

    def _role(self) -> Role:
        return self._active or self._standby

    def _status_note(self) -> str:
        """Why this manager stands as it stands, for operators."""
        down = self._manager.mirror.get(self._manager.keys.down) is not None
        return self._note or (DOWN if down else "")

    # -- what the guard says --------------------------------------------------------------------

    def _on_guard_message(self, message: FromGuard) -> None:
        match message:
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
            case Shutdown():
                self._tasks.create_task(self._shut_down(message.reason), name="shutdown")
            case PhaseChanged():
                self._note = message.note
                if self._active is not None:
                    self._active.term_log.phase_changed(message.phase)

    async def _promote(self, message: Promote) -> None:
        """Become the active: see all that was written before, then take commands."""
        log.info("leading", extra={"term": message.term, "quiesced": message.predecessor_quiesced})
        self._manager.metrics.term.set(message.term)
        stopping = self._tasks.create_task(self._standby.stop(), name="stop standby")
        await _wait_for_revision(self._manager.mirror, Revision(message.term))
        await stopping
        # As a rule nothing is left to be done; a failover must not go back to old code.
        await self._apply_reloads()
        if self._draining or self._servers is None:
            return
        term_context = TermContext(
            term=message.term,
            lease=message.lease,
            http_address=self._servers.http.address,
            gate=self._gate,
            resign=lambda why, to: self._guard_link.send(Resign(reason=why, successor=to)),
            on_fenced=self._on_fenced,
            before_external=self._before_external,
            effects_from_s=message.effects_from_s,
            predecessor_end=message.predecessor_end,
            planned=message.planned,
        )
        self._active = ActiveRole(self._manager, term_context, self._tasks)
        self._standby.promote(self._active)
        self._publish_state()
        await self._active.start()
        self._guard_link.send(Started(term=message.term))
        self._publish_state()

    async def _before_external(self) -> None:
        """Have the guard limit this worker's time; return once the kernel knows the limit."""
        if self._active is None:
            raise AssertionError("only an active starts modules that act outside")
        if not self._time_limited.is_set():
            self._guard_link.send(ActsOutside(term=self._gate.term, acts=True))
            await self._time_limited.wait()

    def _on_fenced(self, error: FencedError) -> None:
        """The store has judged: a successor exists. Nothing is answered any more."""
        self._gate.end(str(error))
        self._guard_link.send(Fenced(term=error.term))

    def _compare_terms(self, _changes: object) -> None:
        """Answer nothing any more if the mirror shows a newer term; the guard sees it itself."""
        record = self._manager.mirror.get(self._manager.keys.leader)
        if record is not None and record.create_revision > self._gate.term > 0:
            self._gate.end(f"term {self._gate.term} is over: another manager leads")

    async def _drain(self, drain: Drain) -> None:
        quiesced = self._active is None or await self._active.drain(drain.budget_s)
        self._gate.release()
        self._guard_link.send(Drained(term=drain.term, quiesced=quiesced))

    async def _finish_hand_over(self, released: LeadershipReleased) -> NoReturn:
        """Send whoever is held to the successor, once there is one, and go."""
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
        # Losing an office is survived; ending a standby is an operator's everyday work.
        level = logging.INFO if self._active is None else logging.WARNING
        log.log(level, "worker shutting down", extra={"reason": reason})
        self._gate.end(reason)
        if self._active is not None:
            self._active.abort(reason)
        await self._close(ABORT_GRACE_S)
        exit_now(0)

    async def _close(self, grace_s: float) -> None:
        """Let answers leave, for ``grace_s``; whatever does not work any more does not matter."""
        if self._servers is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2 * grace_s):
                await self._servers.grpc.close(grace_s)
                await self._servers.http.close()

    async def _follow_reloads(self) -> None:
        """Have the code that the active has, for as long as another one is active."""
        manager, changed = self._manager, asyncio.Event()
        manager.mirror.subscribe(manager.keys.reloads, lambda _: changed.set())
        while self._active is None:
            changed.clear()
            for name in await self._apply_reloads():
                self._standby.restart_module(name)
            await changed.wait()

    async def _apply_reloads(self) -> list[str]:
        """Do what the active did, and tell the guard of it; the modules whose code is new now."""
        done = await self._reloads.catch_up()
        if done:
            self._guard_link.send(ModulesChanged(modules=module_reports(self._manager.catalogue)))
        return [name for name, read in done.items() if read]

    # -- what others see ------------------------------------------------------------------------

    async def _follow_gate(self) -> None:
        """Keep what health says in step with the gate, also when that shuts by the clock."""
        while True:
            self._publish_state()
            left_s = self._gate.deadline_s - CLOCK.now()
            pause_s = min(left_s, CHECK_GATE_EVERY_S) if left_s > 0 else CHECK_GATE_EVERY_S
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._gate.wait_changed()

    def _publish_state(self) -> None:
        serving = self._active is not None and self._gate.accepts()
        if serving != self._serving and self._servers is not None:
            self._serving = serving
            self._servers.grpc.set_serving(serving)
        self._manager.metrics.set_role(self._role().state)


async def _check_endpoints(store: EtcdStore) -> None:
    """Look now and then whether every endpoint belongs to the right etcd cluster, for ever."""
    while True:
        await asyncio.sleep(CHECK_ENDPOINTS_EVERY_S)
        await store.check_endpoints()


async def _wait_for_revision(mirror: Mirror, revision: Revision) -> None:
    """Wait until ``mirror`` shows everything up to ``revision``; for ever if it must be."""
    while True:
        try:
            await mirror.wait_for_revision(revision, LOG_WAIT_EVERY_S)
        except StoreUnavailableError as error:
            log.warning("waiting for the store", extra={"error": str(error)})
        else:
            return

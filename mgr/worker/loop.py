"""The worker: composition root of the child process, and the only file that knows all of it.

What the guard says decides what this worker does; what runs in the process can be read off
``run`` and ``_lead``. A worker leads at most once: it ends by exiting, never by stepping back,
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
from mgr.active.term_context import Office
from mgr.clock import CLOCK
from mgr.config.values import ConfigValues
from mgr.connection import connect
from mgr.errors import FencedError, StoreUnavailableError
from mgr.host.cluster_view import ClusterView
from mgr.host.finder import find_modules, reports
from mgr.host.reload import Reloads
from mgr.host.role import Role
from mgr.host.worker_context import Manager, follow_config, known_options
from mgr.http import server as http
from mgr.link import (
    ActsOutside,
    Begin,
    Drain,
    Drained,
    Extend,
    Fenced,
    FromGuard,
    Lead,
    Modules,
    Ready,
    Released,
    Resign,
    Retire,
    Standing,
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
from mgr.worker.guard_link import Ages, Tether, end
from standby.role import StandbyRole

GOODBYE_S: Final = 0.5
"""How long answers may take to leave once the office is given back."""
ABORT_S: Final = 0.1
"""The same when it was lost: the guard kills a worker that takes half a second."""
LOOK_EVERY_S: Final = 0.5
"""How often to look whether the gate has shut by itself, at most."""
WAIT_S: Final = 10.0
"""After this, say in the log what is waited for, and wait on."""
DOWN: Final = "set down: nobody leads until 'mgrctl mgr set down false'"
SURVEY_EVERY_S: Final = 10.0
"""How often to ask every endpoint of etcd which cluster it belongs to."""
FIRST: Final = Revision(1)
"""Any revision: every etcd is at this one or later."""

log = logging.getLogger(__name__)


async def run(settings: Settings, begin: Begin, tether: Tether, tasks: asyncio.TaskGroup) -> None:
    """Warm up, say so, and from then on do what the guard says. Everything runs in ``tasks``."""
    keys = Keys(settings.cluster)
    store = connect(settings, begin.store)
    mirror = Mirror(store, keys.root, CLOCK)
    tasks.create_task(_survey(store), name="survey")
    tasks.create_task(mirror.run(), name="mirror")
    # Before the imports, so that what is reloaded while they go on is known to be newer.
    await _seen(mirror, FIRST)
    since = mirror.revision
    catalogue = await find_modules(
        settings.module_path, skip=settings.bundled_skip, limit_s=settings.module_load_s
    )
    options = known_options(settings, socket.gethostname(), catalogue)
    config = ConfigValues(settings.id, options, keys)
    follow_config(config, mirror, keys)
    manager = Manager(
        settings=settings,
        incarnation=begin.incarnation,
        store=store,
        mirror=mirror,
        keys=keys,
        clock=CLOCK,
        catalogue=dict(catalogue),
        config=config,
        view=ClusterView(
            mirror, keys, CLOCK, settings.lease_ttl_s, newest_term=begin.store.newest_term
        ),
        metrics=Metrics(),
        identity=store.identity,
    )
    await Worker(manager, tether, tasks, Reloads(manager, since)).open()


@dataclass(frozen=True, slots=True)
class Servers:
    """The open ports."""

    grpc: grpc.GrpcServer
    http: http.HttpServer


class Worker:
    """A warm worker: waits, perhaps leads, and exits."""

    def __init__(
        self, manager: Manager, tether: Tether, tasks: asyncio.TaskGroup, reloads: Reloads
    ) -> None:
        """Wait as a standby; ``open`` lets others see it."""
        self._manager = manager
        self._tether = tether
        self._tasks = tasks
        self._gate = Gate(CLOCK, manager.view.leader)
        manager.view.claims = self._gate.claims
        manager.mirror.subscribe(manager.keys.leader, self._compare_terms)
        self._reloads = reloads
        self._standby = StandbyRole(manager, tasks)
        self._active: ActiveRole | None = None
        self._servers: Servers | None = None
        self._serving = False
        self._draining = False
        self._note = ""
        manager.metrics.measure_mirror(manager.mirror.age_s)
        tether.on_lag = manager.metrics.loop_lag_s.observe
        self._led_s: float | None = None
        self._time_limited = asyncio.Event()
        tether.ages = self._ages

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
                note_of=self._standing,
            ),
            await http.serve(
                manager.settings,
                role_of=self._role,
                view=manager.view,
                registry=manager.metrics.registry,
                tasks=self._tasks,
            ),
        )
        self._tether.on_message = self._heard
        self._tasks.create_task(self._announce(), name="announce")
        self._tasks.create_task(self._standby.run(opened.http.address), name="standby")
        self._tasks.create_task(self._follow_reloads(), name="reloads")
        self._tether.say(
            Ready(
                grpc_address=opened.grpc.address,
                http_address=opened.http.address,
                modules=reports(manager.catalogue),
            )
        )
        log.info("warm", extra={"grpc": opened.grpc.address, "http": opened.http.address})
        self._rehearse(opened.http.address)

    def _rehearse(self, http_address: str) -> None:
        """Make an active's parts once, for nothing: a failover is not to be the first time.

        Descriptors are parsed and patterns compiled then, and Python has seen the code; the role
        that counts is made in half the time. What cannot be made at all ends a standby here.
        """
        nobody = Office(
            term=0,
            lease=0,
            http_address=http_address,
            gate=self._gate,
            resign=lambda _why, _to: None,
            fenced=lambda _error: None,
        )
        ActiveRole(self._manager, nobody, self._tasks)

    def _ages(self) -> Ages:
        mirror_s = self._manager.mirror.age_s()
        if self._active is not None:
            write_s: float | None = self._active.proof.age_s()
        else:
            # It leads from when it was told, whether or not anything could be made of that.
            write_s = None if self._led_s is None else CLOCK.now() - self._led_s
        return Ages(write_s, mirror_s if math.isfinite(mirror_s) else None)

    def _role(self) -> Role:
        return self._active or self._standby

    def _standing(self) -> str:
        """Why this manager stands as it stands, for operators."""
        down = self._manager.mirror.get(self._manager.keys.down) is not None
        return self._note or (DOWN if down else "")

    # -- what the guard says --------------------------------------------------------------------

    def _heard(self, message: FromGuard) -> None:
        match message:
            case Lead():
                self._led_s = CLOCK.now()
                self._gate.extend(message.term, message.deadline_s)
                self._tasks.create_task(self._lead(message), name="lead")
            case Extend():
                self._gate.extend(message.term, message.deadline_s)
            case TimeLimited():
                self._time_limited.set()
            case Drain():
                self._draining = True
                self._gate.drain()
                self._tasks.create_task(self._drain(message), name="drain")
            case Released():
                self._tasks.create_task(self._part(message), name="part")
            case Retire():
                self._tasks.create_task(self._retire(message.reason), name="retire")
            case Standing():
                self._note = message.note
                if self._active is not None:
                    self._active.chronicle.stands(message.phase)

    async def _lead(self, lead: Lead) -> None:
        """Become the active: see all that was written before, then take commands."""
        log.info("leading", extra={"term": lead.term, "quiesced": lead.predecessor_quiesced})
        self._manager.metrics.term.set(lead.term)
        stopping = self._tasks.create_task(self._standby.stop(), name="stop standby")
        await _seen(self._manager.mirror, Revision(lead.term))
        await stopping
        # As a rule nothing is left to be done; a failover must not go back to old code.
        await self._read_anew()
        if self._draining or self._servers is None:
            return
        office = Office(
            term=lead.term,
            lease=lead.lease,
            http_address=self._servers.http.address,
            gate=self._gate,
            resign=lambda why, to: self._tether.say(Resign(reason=why, successor=to)),
            fenced=self._fenced,
            before_external=self._before_external,
            effects_from_s=lead.effects_from_s,
            ended=lead.ended,
            planned=lead.planned,
        )
        self._active = ActiveRole(self._manager, office, self._tasks)
        self._standby.promote(self._active)
        self._show()
        await self._active.start()
        self._tether.say(Started(term=lead.term))
        self._show()

    async def _before_external(self) -> None:
        """Have the guard limit this worker's time; return once the kernel knows the limit."""
        if self._active is None:
            raise AssertionError("only an active starts modules that act outside")
        if not self._time_limited.is_set():
            self._tether.say(ActsOutside(term=self._gate.term, acts=True))
            await self._time_limited.wait()

    def _fenced(self, error: FencedError) -> None:
        """The store has judged: a successor exists. Nothing is answered any more."""
        self._gate.end(str(error))
        self._tether.say(Fenced(term=error.term))

    def _compare_terms(self, _changes: object) -> None:
        """Answer nothing any more if the mirror shows a newer term; the guard sees it itself."""
        record = self._manager.mirror.get(self._manager.keys.leader)
        if record is not None and record.create_revision > self._gate.term > 0:
            self._gate.end(f"term {self._gate.term} is over: another manager leads")

    async def _drain(self, drain: Drain) -> None:
        quiesced = self._active is None or await self._active.drain(drain.budget_s)
        self._gate.release()
        self._tether.say(Drained(term=drain.term, quiesced=quiesced))

    async def _part(self, released: Released) -> NoReturn:
        """Send whoever is held to the successor, once there is one, and go."""
        manager = self._manager
        others = any(p.warm and p.name != manager.id for p in manager.view.presences())
        if others and manager.mirror.get(manager.keys.down) is None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(manager.settings.hold_s):
                    await self._succeeded(released.term)
        self._gate.end("the office was given back")
        await self._close(GOODBYE_S)
        end(0)

    async def _succeeded(self, term: int) -> None:
        async for leader in self._manager.view.changes():
            if leader is not None and leader.term > term:
                return

    async def _retire(self, reason: str) -> NoReturn:
        # Losing an office is survived; ending a standby is an operator's everyday work.
        level = logging.INFO if self._active is None else logging.WARNING
        log.log(level, "retiring", extra={"reason": reason})
        self._gate.end(reason)
        if self._active is not None:
            self._active.abort(reason)
        await self._close(ABORT_S)
        end(0)

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
        manager, news = self._manager, asyncio.Event()
        manager.mirror.subscribe(manager.keys.reloads, lambda _: news.set())
        while self._active is None:
            news.clear()
            for name in await self._read_anew():
                self._standby.renew(name)
            await news.wait()

    async def _read_anew(self) -> list[str]:
        """Do what the active did, and tell the guard of it; the modules whose code is new now."""
        done = await self._reloads.catch_up()
        if done:
            self._tether.say(Modules(modules=reports(self._manager.catalogue)))
        return [name for name, read in done.items() if read]

    # -- what others see ------------------------------------------------------------------------

    async def _announce(self) -> None:
        """Keep what health says in step with the gate, also when that shuts by the clock."""
        while True:
            self._show()
            left_s = self._gate.deadline_s - CLOCK.now()
            look_s = min(left_s, LOOK_EVERY_S) if left_s > 0 else LOOK_EVERY_S
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(look_s):
                    await self._gate.changed()

    def _show(self) -> None:
        serving = self._active is not None and self._gate.admits()
        if serving != self._serving and self._servers is not None:
            self._serving = serving
            self._servers.grpc.set_serving(serving)
        self._manager.metrics.set_part(self._role().part)


async def _survey(store: EtcdStore) -> None:
    """Look now and then whether every endpoint belongs to the right etcd cluster, for ever."""
    while True:
        await asyncio.sleep(SURVEY_EVERY_S)
        await store.survey()


async def _seen(mirror: Mirror, revision: Revision) -> None:
    """Wait until ``mirror`` shows everything up to ``revision``; for ever if it must be."""
    while True:
        try:
            await mirror.reached(revision, WAIT_S)
        except StoreUnavailableError as error:
            log.warning("waiting for the store", extra={"error": str(error)})
        else:
            return

"""The active's part: what it starts when its term begins, and how it gives everything back.

Commands are taken from the first moment on and held for those modules that are not there yet: a
failover is a pause and not an error.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

from mgr.active.documents.publisher import FLEET_STATUS, Publisher, Sources
from mgr.active.fleet.counter_rows import RowReader
from mgr.active.fleet.reader import FleetReader
from mgr.active.fleet.store import Members
from mgr.active.fleet.wear import Wear
from mgr.active.health.fleet_checks import fleet_checks
from mgr.active.health.manager_checks import (
    abandoned_checks,
    module_checks,
    option_checks,
    outdated_checks,
    standby_checks,
    store_checks,
)
from mgr.active.health.mutes import MuteKeeper
from mgr.active.health.store import HealthKeeper
from mgr.active.modules.background_commands import Errands
from mgr.active.modules.context import ActiveContext, Reach
from mgr.active.modules.crashes import Crashes
from mgr.active.modules.modules import ActiveModules, OutsideEffects, Told
from mgr.active.modules.notify import announce, announce_maps
from mgr.active.modules.remote import Remote
from mgr.active.offer import commands_of
from mgr.active.successor import check_successor
from mgr.active.term_context import Office
from mgr.active.term_log import Chronicle
from mgr.active.write_proof import WriteProof
from mgr.argument.tell import TELL, meant, to_daemon
from mgr.cluster.fleet import Fleet
from mgr.cluster.log import ClusterLog
from mgr.cluster.maps import Maps
from mgr.cluster.progress import Progress
from mgr.command.builtin.catalogue import builtins
from mgr.command.builtin.context import Administration
from mgr.command.dispatch import Answer, Dispatcher, Request, Runner
from mgr.command.journal import Journal
from mgr.command.registry import BUILTIN, Command, Registry
from mgr.config.history import ConfigHistory
from mgr.errors import (
    MgrError,
    NotFoundError,
    StoreError,
    TermLostError,
)
from mgr.health.board import OURS, Board
from mgr.health.check import Check
from mgr.host.bridge import Bridge
from mgr.host.finder import Found
from mgr.host.lifecycle import Event
from mgr.host.runner import Limits, Servant
from mgr.host.worker_context import Manager
from mgr.store.api import Delete, LeaseId, Revision
from mgr.store.fenced import FencedStore
from mgr.store.mirror import CURRENT_WITHIN_S
from mgr.version import installed_version

COMMANDS_SHARE: Final = 0.6
"""The part of a drain's budget that running commands get; the rest is for the modules to stop."""
LOOK_EVERY_S: Final = 1.0
"""How often to look whether the store is still heard of."""
WITHDRAW_S: Final = 0.5
"""For taking back published addresses at the end. Left there, they end with the term anyway."""

log = logging.getLogger(__name__)


class ActiveRole:
    """Implements ``mgr.host.role.Role`` for one term. Made once, never used for another."""

    def __init__(self, manager: Manager, office: Office, tasks: asyncio.TaskGroup) -> None:
        """Make every part; commands are taken from here on. Everything runs in ``tasks``.

        Nothing begins before ``start``: a role may be made and thrown away.
        """
        self._manager = manager
        self._office = office
        self._tasks = tasks
        self._available = False
        self._draining = False
        self._lost = ""
        self._callers: set[asyncio.Task[Any]] = set()
        self.log = ClusterLog()
        self.chronicle = Chronicle(self.log, manager.id, manager.clock)
        self._board = Board()
        self._progress = Progress()
        self._fenced = FencedStore(
            manager.store,
            manager.keys,
            Revision(office.term),
            mirror=manager.mirror,
            on_fenced=office.fenced,
        )
        self.proof = WriteProof(self._fenced, manager.keys, manager.clock)
        self._history = ConfigHistory(manager.keys, manager.mirror, self._fenced)
        self.fleet = Fleet(
            manager.clock,
            self.log,
            term=office.term,
            name=f"mgr.{manager.id}",
            refused=manager.metrics.count_refused,
        )
        self._members = Members(self.fleet, manager, self._fenced, self._fleet_changed)
        self._modules = self._make_modules()
        self._publisher = Publisher(
            Sources(
                manager=manager,
                modules=self._modules,
                board=self._board,
                fleet=self.fleet,
                term=office.term,
                http_address=office.http_address,
                available=lambda: self._available,
            )
        )
        self.maps = Maps(manager.mirror, manager.keys, self._fenced, self._publisher.documents)
        self._errands = Errands(self.execute, self._modules, self._tasks)
        self._reach = self._make_reach()
        self._crashes = Crashes(manager, self._fenced, self.execute)
        self._mutes = MuteKeeper(self._board, manager.mirror, manager.keys, self._fenced)
        self._health = HealthKeeper(self._board, manager.mirror, manager.keys, self._fenced)
        self._option_checks: list[Check] = []
        self._store_silent = False
        self._registry = Registry()
        self._builtin = self._register()
        self._journal = self._make_journal()
        self._dispatcher = self._make_dispatcher()

    async def start(self) -> None:
        """Start the modules; returns when each is constructed, or its time is up."""
        manager, office = self._manager, self._office
        unloaded = [found.name for found in manager.catalogue.values() if not found.loaded]
        self.chronicle.begins(office.ended, planned=office.planned, unloaded=unloaded)
        mirror, keys = manager.mirror, manager.keys
        self._modules.on_crash(self._crashes.note)
        # The order is that of cause and effect: first the modules change, then what shows them.
        mirror.subscribe(keys.modules, self._modules.look)
        mirror.subscribe(keys.modules, self._judge)
        mirror.subscribe(keys.managers, self._judge)
        mirror.subscribe(keys.config, self._modules.notify_config)
        mirror.subscribe(keys.config, self._judge_options)
        mirror.subscribe(keys.down, self._stand_down)
        mirror.subscribe(keys.module_entries, self._modules.notify_store)
        self._mutes.follow()
        self._members.follow()
        self._publisher.follow()
        announce(self._modules, self._board, self.log)
        mirror.subscribe(keys.maps, partial(announce_maps, self._modules, keys.maps))
        self._tasks.create_task(self._mutes.run(), name="mutes")
        self._tasks.create_task(self._sweep(), name="sweep")
        self._tasks.create_task(self._crashes.run(), name="crashes")
        self._modules.look()
        self._health.inherit(self._modules.wanted)
        self._judge_options()
        members = self._members
        for work in (
            self.proof.prove,
            self._journal.recall,
            self._health.run,
            self._health.grace,
            self._watch_store,
            members.watch,
            members.write,
            members.tell,
            Wear(self.fleet, mirror, keys, self._fenced).keep,
        ):
            self._tasks.create_task(work(), name=work.__name__)
        await self._modules.start()
        self._judge()
        self._stand_down()
        self._available = True
        self._publisher.map_changed()
        self.chronicle.available()

    @property
    def part(self) -> str:
        """What this manager is doing, in one word."""
        if self._draining:
            return "draining"
        if not self._office.gate.holds():
            return "suspended"
        return "active" if self._available else "starting"

    async def execute(self, request: Request) -> Answer:
        """See ``mgr.command.dispatch``.

        Raises:
            TermLostError: The office was lost (``abort``) while it was held or ran.

        """
        task = asyncio.current_task()
        if task is None:
            raise AssertionError("a command is run by a task")
        self._callers.add(task)
        began_s = self._manager.clock.now()
        outcome = "ok"
        try:
            answer = await self._run(request)
        except asyncio.CancelledError:
            outcome = "CANCELLED"
            if not self._lost:
                raise
            # Cancelled by ``abort``, not by whoever waits for this task: that one gets a word.
            task.uncancel()
            raise TermLostError(self._lost) from None
        except MgrError as error:
            outcome = error.reason
            raise
        else:
            outcome = "ok" if answer.retval >= 0 else "said_no"
            return answer
        finally:
            self._callers.discard(task)
            seconds = self._manager.clock.now() - began_s
            self._manager.metrics.count_command(outcome, seconds)

    async def _run(self, request: Request) -> Answer:
        own = self._manager.id
        if told := to_daemon(request.words, request.arguments):
            return await self._dispatcher.execute(replace(request, words=(TELL,), arguments=told))
        name, words = meant(request.words, own)
        if name != own:
            self._dispatcher.check_refusal(replace(request, words=words), "it is for another one")
            return Answer(-errno.ENXIO, "", f"mgr.{name} is not the active manager, mgr.{own} is")
        asked = request if words == request.words else replace(request, words=words)
        return await self._dispatcher.execute(asked)

    def describe(self) -> tuple[Sequence[Command], str]:
        """Every command there is, those of disabled modules included, and their tag."""
        return self._registry.all(), self._registry.etag

    async def fail(self, name: str, successor: str) -> str:
        """Ask the guard for a hand-over.

        Raises:
            NotFoundError: ``name`` is not the active, or ``successor`` is no warm standby.
            NotPermittedError: ``successor`` runs an older release.

        """
        own = self._manager.id
        if name not in {"", own}:
            raise NotFoundError(f"manager {name!r} is not the active one: {own!r} is")
        await self._resign(reason="mgr fail", successor=successor)
        return f"{own} gives up the office" + (f" to {successor}" if successor else "")

    async def drain(self, budget_s: float) -> bool:
        """Let running commands finish and stop the modules, within ``budget_s`` seconds.

        The gate must have been told to drain. True: nothing of this term runs any more.
        """
        self._draining = True
        clock = self._manager.clock
        # All of it must be over before the guard's patience is: it would kill a worker that is
        # done in the next moment, and the office would be given back by the slow way.
        end_s = clock.now() + budget_s
        await self._health.close()
        finished = await self._dispatcher.idle(until_s=end_s - budget_s * (1 - COMMANDS_SHARE))
        stopped = await self._modules.drain(limit_s=end_s - clock.now())
        stopped &= await self._errands.close(end_s - clock.now())
        await self._withdraw(*self._published())
        log.info("drained", extra={"commands_finished": finished, "modules_stopped": stopped})
        return finished and stopped

    def abort(self, why: str) -> None:
        """Answer every command that is held or runs with ``TermLostError``, now."""
        self._lost = why
        for caller in tuple(self._callers):
            caller.cancel()

    # -- inside ---------------------------------------------------------------------------------

    def _construct(self, found: Found, bridge: Bridge) -> Servant:
        """On the module's own thread."""
        if found.active is None:
            raise AssertionError("only loaded modules are constructed")
        return found.active(found.name, ActiveContext(self._reach, found.name, bridge), 0)

    def _runner_of(self, module: str) -> Runner:
        return self._builtin if module == BUILTIN else self._modules.runner_of(module)

    def _register(self) -> Runner:
        manager = self._manager
        for found in manager.catalogue.values():
            self._offer(found)
        admin = Administration(
            manager_id=manager.id,
            version=installed_version(),
            keys=manager.keys,
            mirror=manager.mirror,
            fenced=self._fenced,
            leases=manager.store,
            config=manager.config,
            history=self._history,
            board=self._board,
            log=self.log,
            progress=self._progress,
            fleet=self.fleet,
            maps=self.maps,
            access=manager.view.access,
            modules=self._modules,
            registry=self._registry,
            clock=manager.clock,
            mgr_map=self._publisher.mgr_map,
            resign=self._resign,
        )
        runner = builtins(admin)
        self._registry.put(BUILTIN, runner.commands)
        return runner

    def _offer(self, found: Found) -> None:
        hidden = self._registry.put(found.name, commands_of(found))
        if hidden:
            fields = {"module_name": found.name, "prefixes": hidden}
            log.warning("commands that another module has already", extra=fields)

    def _make_modules(self) -> ActiveModules:
        manager = self._manager
        return ActiveModules(
            manager,
            self._construct,
            tasks=self._tasks,
            limits=Limits(
                stop_s=manager.settings.drain_s,
                commands_max=manager.settings.commands_max,
                holds=self._office.gate.holds,
            ),
            outside=OutsideEffects(
                from_s=self._office.effects_from_s, before=self._office.before_external
            ),
            told=Told(
                changed=self._module_changed,
                stopped=self._module_stopped,
                declared=self._module_declared,
                abandoned=self._judge,
            ),
        )

    def _make_reach(self) -> Reach:
        manager = self._manager
        return Reach(
            manager=manager,
            fenced=self._fenced,
            history=self._history,
            lease=LeaseId(self._office.lease),
            maps=self.maps,
            modules=self._modules,
            fleet=FleetReader(manager.view, self.fleet),
            rows=RowReader(self.fleet),
            errands=self._errands,
            board=self._board,
            log=self.log,
            progress=self._progress,
            remote=Remote(self._modules.instance_of),
            execute=self.execute,
        )

    def _make_journal(self) -> Journal:
        manager = self._manager
        return Journal(
            self._fenced,
            manager.keys,
            manager.mirror,
            manager.store,
            term=self._office.term,
            clock=manager.clock,
        )

    def _make_dispatcher(self) -> Dispatcher:
        manager = self._manager
        return Dispatcher(
            registry=self._registry,
            permit=manager.view.access.check,
            runner_of=self._runner_of,
            gate=self._office.gate,
            journal=self._journal,
            clock=manager.clock,
            tasks=self._tasks,
            hold_s=manager.settings.hold_s,
        )

    async def _resign(self, *, reason: str, successor: str = "") -> None:
        if successor:
            check_successor(successor, self._manager.view.presences(), own=self._manager.id)
        self._office.resign(reason, successor)

    def _stand_down(self, _changes: object = None) -> None:
        if self._manager.mirror.get(self._manager.keys.down) is not None:
            self._office.resign("mgr set down", "")

    def _module_changed(self, module: str, event: Event) -> None:
        if event is Event.SERVE_RAISED:
            self.chronicle.failed(module, self._modules.error_of(module))
        self._judge()

    def _module_declared(self, found: Found) -> None:
        self._offer(found)
        self._judge_options()
        self._publisher.modules_changed()

    def _module_stopped(self, module: str) -> None:
        self._board.clear(module)
        self._progress.drop(module)
        self._judge()
        self._publisher.map_changed()
        self._tasks.create_task(self._withdraw(self._manager.keys.service(module)))

    def _fleet_changed(self) -> None:
        self._publisher.documents.changed(FLEET_STATUS)
        self._judge()

    def _judge(self, _changes: object = None) -> None:
        own = self._manager.id
        standbys = sum(p.warm for p in self._manager.view.presences() if p.name != own)
        checks = [
            *module_checks(self._modules.states()),
            *abandoned_checks(str(each) for each in self._manager.abandoned.all()),
            *standby_checks(own, standbys),
            *outdated_checks(self._outdated()),
            *store_checks(silent=self._store_silent, foreign=self._manager.identity.foreign),
            *fleet_checks(self.fleet.findings),
            *self._option_checks,
        ]
        self._board.set(OURS, checks)

    def _outdated(self) -> Iterator[tuple[str, str, str]]:
        own = self._manager.id
        for found in self._manager.catalogue.values():
            if found.outdated:
                yield own, found.name, found.outdated
        for presence in self._manager.view.presences():
            for report in presence.modules if presence.name != own else ():
                if report.outdated:
                    yield presence.name, report.name, report.outdated

    def _judge_options(self, _changes: object = None) -> None:
        misfits = self._manager.config.misfits()
        checks = option_checks(
            (f"{setting.section} {setting.name} = '{setting.value}'", why)
            for setting, why in misfits
        )
        # Whoever changed an option waits for this.
        if checks != self._option_checks:
            self._option_checks = checks
            self._judge()

    async def _watch_store(self) -> None:
        self._manager.identity.subscribe(self._judge)
        while True:
            silent = self._manager.mirror.age_s() > CURRENT_WITHIN_S
            if silent != self._store_silent:
                self._store_silent = silent
                self._judge()
            await asyncio.sleep(LOOK_EVERY_S)

    def _published(self) -> list[str]:
        services = self._manager.mirror.under(self._manager.keys.services)
        return [key for key, record in services.items() if record.mod_revision > self._office.term]

    async def _sweep(self) -> None:
        """Remove addresses of earlier terms: their lease lives on where their manager does."""
        services = self._manager.mirror.under(self._manager.keys.services)
        await self._withdraw(*(services.keys() - set(self._published())))

    async def _withdraw(self, *services: str) -> None:
        there = [key for key in services if self._manager.mirror.get(key)]
        if there:
            with contextlib.suppress(StoreError, TermLostError):
                await self._fenced.commit([Delete(key) for key in there], timeout_s=WITHDRAW_S)

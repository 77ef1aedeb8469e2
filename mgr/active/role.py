"""The active role: what a manager starts when its term begins and stops when it ends.

Commands are accepted from the first moment; one for a module that has not started yet waits for
it, so that clients see a failover as a pause and not as an error.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Final

from msgspec.structs import replace

from mgr.access.table import INTERNAL_CALLER, Caller
from mgr.active.audit import close_records, make_trail, start_audit
from mgr.active.certificates import make_issuer
from mgr.active.cluster_log_store import ClusterLogStore
from mgr.active.documents.publisher import FLEET_STATUS, Publisher
from mgr.active.fleet.counter_rows import CounterRowReader
from mgr.active.fleet.reader import FleetReader
from mgr.active.fleet.store import FleetStore
from mgr.active.fleet.wear import WearLevelStore
from mgr.active.health.checks import ManagerChecks
from mgr.active.health.log_lines import HealthLog
from mgr.active.health.mutes import MuteStore
from mgr.active.health.store import HealthStore
from mgr.active.leadership_history import LeadershipHistory
from mgr.active.modules.background_commands import BackgroundCommands
from mgr.active.modules.callers import Callers
from mgr.active.modules.ceph_commands import CephCommands
from mgr.active.modules.collaborators import ModuleCallbacks, OutsideEffects
from mgr.active.modules.construct import construct_in_thread
from mgr.active.modules.crashes import CrashReporter
from mgr.active.modules.isolated import IsolatedModules
from mgr.active.modules.modules import ActiveModules
from mgr.active.modules.notify import forward_health_and_log, notify_map_changes
from mgr.active.modules.package_installer import PackageInstaller
from mgr.active.modules.remote import Remote
from mgr.active.modules.running_calls import running_calls
from mgr.active.modules.service_addresses import ServiceAddresses
from mgr.active.modules.worker_crashes import WorkerCrashCollector
from mgr.active.protection import ProtectionKeeper
from mgr.active.seal_keeper import SealKeeper
from mgr.active.term_context import EarlierTerms, TermContext, fenced_store
from mgr.active.term_log import TermLog
from mgr.active.term_parts import TermParts
from mgr.active.write_proof import WriteProof
from mgr.argument.tell import TELL, daemon_command_arguments, resolve_target
from mgr.audit.author import author_of
from mgr.cluster.fleet import Fleet
from mgr.cluster.log import ClusterLog
from mgr.cluster.maps import Maps
from mgr.cluster.progress import Progress
from mgr.command.builtin.call import Builtins
from mgr.command.builtin.catalogue import builtins
from mgr.command.builtin.context import BuiltinContext
from mgr.command.dispatch import Answer, Dispatcher, Request, Runner
from mgr.command.journal import Journal
from mgr.command.registry import BUILTIN, Command
from mgr.command.running import RunningCommand
from mgr.config.history import ConfigHistory
from mgr.election.eligibility import check_successor
from mgr.errors import MgrError, NotFoundError, TermLostError
from mgr.health.board import Board
from mgr.host.finder import DiscoveredModule
from mgr.host.lifecycle import Event
from mgr.host.limits import Limits
from mgr.host.worker_context import WorkerContext
from mgr.store.api import LeaseId
from mgr.version import installed_version

COMMANDS_SHARE: Final = 0.6
"""Share of a drain's budget for running commands to finish; the rest is for stopping modules."""
START_S: Final = 0.1
HOUSEKEEPING_AFTER_S: Final = 0.1
"""What nobody waits for begins so long after the modules have started, or after ``START_S`` if they
take longer: the commands that a failover has held come first."""

log = logging.getLogger(__name__)


class ActiveRole:
    """Implements ``mgr.host.role.Role`` for one term; each term has an object of its own."""

    def __init__(
        self, manager: WorkerContext, term_context: TermContext, tasks: asyncio.TaskGroup
    ) -> None:
        """Make every part of the term; commands are accepted from here on.

        Background work runs in ``tasks`` and begins with ``start``: a role may be made and
        discarded without having had any effect.
        """
        self._manager = manager
        self._term_context = term_context
        self._tasks = tasks
        self._available = self._draining = self._shows_modules = False
        self._abort_reason = ""
        self._callers: set[asyncio.Task[Any]] = set()
        self.log = ClusterLog(term=term_context.term)
        self.term_log = TermLog(self.log, manager.id, manager.clock)
        self._board, self._progress = Board(), Progress()
        self._registry = term_context.commands.registry
        self._fenced = fenced_store(manager, term_context)
        self.issuer = make_issuer(manager, self._fenced)
        self.audit = make_trail(manager, self._fenced)
        self._seals = SealKeeper(manager, self._fenced)
        self._log_store = ClusterLogStore(self.log, manager.mirror, manager.keys, self._fenced)
        self.proof = WriteProof(self._fenced, manager.keys, manager.clock)
        self._history = ConfigHistory(manager.keys, manager.mirror, self._fenced)
        self.fleet = self._make_fleet()
        self._fleet_store = FleetStore(self.fleet, manager, self._fenced, self._on_fleet_changed)
        self._isolated = IsolatedModules(
            manager,
            term_context.gate,
            tasks,
            http_address=term_context.http_address,
            limits=self._limits(),
        )
        self._modules = self._make_modules()
        self._publisher = Publisher(
            manager,
            term_context,
            modules=self._modules,
            board=self._board,
            fleet=self.fleet,
            available=lambda: self._available,
        )
        self.maps = Maps(manager.mirror, manager.keys, self._fenced, self._publisher.documents)
        self._ceph = CephCommands(
            self.execute, self._registry, self._modules, self.fleet, term_context.gate.term_valid
        )
        self._background_commands = BackgroundCommands(self._ceph.execute, self._modules, tasks)
        self._term_parts = self._make_term_parts()
        self._isolated.begin(self._term_parts)
        self._checks = ManagerChecks(self._term_parts, self._running_commands)
        self._addresses = ServiceAddresses(manager.mirror, manager.keys, self._fenced)
        self._crashes = CrashReporter(manager, self._fenced, self.execute)
        self._mutes = MuteStore(self._board, manager.mirror, manager.keys, self._fenced)
        self._health = HealthStore(self._board, manager.mirror, manager.keys, self._fenced)
        self._health_log = HealthLog(self._board, self.log, manager.clock, name=f"mgr.{manager.id}")
        self._protection = ProtectionKeeper(manager, self._fenced, term_context.resign)
        self._builtin = self._make_builtin_runner()
        self._journal = self._make_journal()
        self._dispatcher = self._make_dispatcher()

    async def start(self, earlier: EarlierTerms) -> None:
        """Start the modules; return when each is constructed or has exceeded its load time."""
        manager, term_context = self._manager, self._term_context
        self._modules.outside.from_s = earlier.effects_from_s
        self._log_store.restore()
        unloaded = [found.name for found in manager.catalogue.values() if not found.loaded]
        self.term_log.term_started(earlier.last_end, planned=earlier.planned, unloaded=unloaded)
        self._follow()
        manager.metrics.measure_commands(self._dispatcher)
        self._run_in_background(self._mutes.run, self._addresses.remove_earlier, self._crashes.run)
        start_audit(self._term_parts, term_context, self.audit, self.term_log, self._tasks)
        self._modules.reconcile()
        self._update_command_owners()
        # Before the modules have raised their own checks, which replace the restored ones.
        self._health.restore(self._modules.enabled)
        self._health_log.follow()
        self._checks.update_options()
        self._run_in_background(
            self._journal.preload,
            self._fleet_store.watch,
            self._fleet_store.write,
            self._fleet_store.send_report_config,
            self._protection.record_protection,
        )
        starting = self._tasks.create_task(self._modules.start(), name="start modules")
        self._tasks.create_task(self._begin_housekeeping(starting), name="begin housekeeping")
        await starting
        self._show_modules()
        # The managers may have been set down before this term subscribed to the key.
        self._resign_if_set_down()
        self._protection.follow()
        self._available = True
        self._publisher.map_changed()
        self.term_log.modules_available()

    async def _begin_housekeeping(self, starting: asyncio.Task[None]) -> None:
        """Begin what nobody waits for: first come the modules, and the commands that waited."""
        manager = self._manager
        await asyncio.wait((starting,), timeout=START_S)
        self._show_modules()
        await asyncio.sleep(HOUSEKEEPING_AFTER_S)
        wear = WearLevelStore(self.fleet, manager.mirror, manager.keys, self._fenced)
        self._run_in_background(
            self.proof.prove,
            self.audit.run,
            self._log_store.run,
            self._seals.run,
            self._health.run,
            self._health_log.run,
            self._health.expire_restored,
            self._checks.watch_store,
            WorkerCrashCollector(manager, self._fenced, self._crashes.post).collect,
            wear.store_wear_levels,
            LeadershipHistory(manager, self._fenced).trim,
        )

    def _show_modules(self) -> None:
        # Until here one update takes the place of one for each module.
        if not self._shows_modules:
            self._shows_modules = True
            self._checks.update()

    def _run_in_background(self, *works: Callable[[], Coroutine[Any, Any, None]]) -> None:
        for work in works:
            self._tasks.create_task(work(), name=work.__qualname__)

    def _follow(self) -> None:
        """Subscribe everything that depends on records of the store.

        Subscribers are called in this order. The modules come first: checks and documents show
        the state that the modules have after the change. Nothing is unsubscribed: the mirror
        ends with the worker, and the worker with its term.
        """
        mirror, keys = self._manager.mirror, self._manager.keys
        self._modules.on_crash(self._crashes.report)
        for prefix in (keys.modules, keys.quarantines, keys.module_deaths):
            mirror.subscribe(prefix, self._modules.reconcile)
        mirror.subscribe(keys.modules, self._update_command_owners)
        self._manager.config.subscribe(self._modules.notify_config)
        self._checks.follow()
        mirror.subscribe(keys.down, self._resign_if_set_down)
        mirror.subscribe(keys.module_entries, self._modules.notify_store)
        self._mutes.follow()
        self._fleet_store.follow()
        self._publisher.follow()
        forward_health_and_log(self._modules, self._board, self.log)
        mirror.subscribe(keys.maps, partial(notify_map_changes, self._modules, keys.maps))

    @property
    def state(self) -> str:
        """``starting``, ``active``, ``suspended`` or ``draining``."""
        if self._draining:
            return "draining"
        if not self._term_context.gate.term_valid():
            return "suspended"
        return "active" if self._available else "starting"

    async def execute(self, request: Request) -> Answer:
        """Run a command and count its outcome (``mgr.command.dispatch``).

        Raises:
            TermLostError: Leadership was lost (``abort``) while the command waited or ran.

        """
        task = asyncio.current_task()
        if task is None:
            raise AssertionError("a command must be run in a task")
        self._callers.add(task)
        began_s = self._manager.clock.now()
        outcome = "ok"
        try:
            plain = TELL not in request.words[:1]
            answer = await (self._dispatcher.execute if plain else self._tell)(request)
        except asyncio.CancelledError:
            outcome = "CANCELLED"
            if not self._abort_reason:
                raise
            # ``abort`` cancelled this task; its caller did not. The caller gets an error that
            # names the reason, so the cancellation is taken back and the task goes on.
            task.uncancel()
            raise TermLostError(self._abort_reason) from None
        except MgrError as error:
            outcome = error.reason
            raise
        else:
            outcome = "ok" if answer.retval >= 0 else "returned_error"
            return answer
        finally:
            self._callers.discard(task)
            seconds = self._manager.clock.now() - began_s
            self._manager.metrics.count_command(outcome, seconds)

    async def _tell(self, request: Request) -> Answer:
        own = self._manager.id
        if arguments := daemon_command_arguments(request.words, request.arguments):
            to_daemon = replace(request, words=(TELL,), arguments=arguments)
            return await self._dispatcher.execute(to_daemon)
        name, words = resolve_target(request.words, own)
        if name != own:
            self._dispatcher.check_refusal(replace(request, words=words), "it is for another one")
            return Answer(-errno.ENXIO, "", f"mgr.{name} is not the active manager, mgr.{own} is")
        return await self._dispatcher.execute(replace(request, words=words))

    def describe(self) -> tuple[Sequence[Command], str]:
        """Return every command, including those of disabled modules, and the list's etag."""
        return self._registry.all(), self._registry.etag

    async def fail(self, name: str, successor: str, caller: Caller = INTERNAL_CALLER) -> str:
        """Ask the guard for a hand-over to ``successor`` (empty: to any standby).

        Raises what ``mgr.host.role.Role`` names, and ``NotPermittedError`` for an older version.
        """
        own = self._manager.id
        if name not in {"", own}:
            raise NotFoundError(f"manager {name!r} is not the active one: {own!r} is")
        asked_by = author_of(caller)
        reason = f"mgr fail by {asked_by}" if asked_by else "mgr fail"
        if successor:
            check_successor(successor, self._manager.view.presences(), own=own)
        await self.audit.record(caller, "mgr fail", {"who": name, "successor": successor})
        await self._resign(reason=reason, successor=successor, asked_by=asked_by)
        return f"{own} gives up leadership" + (f" to {successor}" if successor else "")

    async def drain(self, budget_s: float) -> bool:
        """Let running commands finish and stop the modules, within ``budget_s`` seconds.

        The gate must be draining already. Returns whether nothing of this term runs any more.
        """
        self._draining = True
        clock = self._manager.clock
        # The steps share one end: past ``budget_s`` the guard kills the worker and releases
        # leadership after that. Each later step gets what the earlier ones left.
        end_s = clock.now() + budget_s
        # Every module stops: health tells nobody, and the processor is the successor's.
        self._shows_modules = False
        # First: modules that stop clear their checks, and the successor must still see them.
        self._health_log.close()
        await self._health.close()
        finished = await self._dispatcher.idle(until_s=end_s - budget_s * (1 - COMMANDS_SHARE))
        stopped = await self._modules.drain(limit_s=end_s - clock.now())
        # After the modules have stopped: an answer delivered now could still make them act.
        stopped &= await self._background_commands.close(end_s - clock.now())
        # Together, since a store that is silent takes each of them its whole limit.
        async with asyncio.TaskGroup() as group:
            group.create_task(self._addresses.remove_own())
            group.create_task(close_records(self.audit, self._log_store))
        log.info("drained", extra={"commands_finished": finished, "modules_stopped": stopped})
        return finished and stopped

    def abort(self, reason: str) -> None:
        """Answer every waiting or running command with ``TermLostError`` at once."""
        self._abort_reason = reason
        for caller in tuple(self._callers):
            caller.cancel()

    # -- inside ---------------------------------------------------------------------------------

    def _runner_of(self, module: str) -> Runner:
        return self._builtin if module == BUILTIN else self._modules.runner_of(module)

    def _running_commands(self) -> list[RunningCommand]:
        calls = self._modules.command_calls.all()
        return [*self._builtin.running(), *running_calls(calls, self._manager.clock.now())]

    def _make_builtin_runner(self) -> Builtins:
        manager = self._manager
        builtin_context = BuiltinContext(
            manager_id=manager.id,
            version=installed_version(),
            keys=manager.keys,
            mirror=manager.mirror,
            fenced=self._fenced,
            leases=manager.store,
            issuer=self.issuer,
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
            limits=manager.limits,
            mgr_map=self._publisher.mgr_map,
            running=self._running_commands,
            usage=self._isolated.usage(self._modules),
            resign=self._resign,
            seals=self._seals,
            packages=PackageInstaller(manager, self._fenced, self._modules),
        )
        runner = builtins(builtin_context)
        self._term_context.commands.register_all(manager, runner.commands)
        return runner

    def _update_command_owners(self, _changes: object = None) -> None:
        # Of two modules that declare one command, an enabled one runs it.
        self._registry.set_enabled(self._modules.enabled)

    def _limits(self) -> Limits:
        settings = self._manager.settings
        return Limits(
            stop_s=settings.drain_s,
            commands_max=settings.commands_max,
            may_begin=self._term_context.gate.term_valid,
        )

    def _make_modules(self) -> ActiveModules:
        manager = self._manager
        return ActiveModules(
            manager,
            lambda found, bridge: construct_in_thread(self._term_parts, found, bridge),
            tasks=self._tasks,
            limits=self._limits(),
            isolate=self._isolated,
            outside=OutsideEffects(before_start=self._term_context.before_external),
            callbacks=ModuleCallbacks(
                on_event=self._on_module_event,
                on_stopped=self._on_module_stopped,
                on_reloaded=self._on_module_reloaded,
                on_abandoned_changed=lambda: self._checks.update(),  # noqa: PLW0108 - made later
            ),
        )

    def _make_fleet(self) -> Fleet:
        return Fleet(
            self._manager.clock,
            self.log,
            term=self._term_context.term,
            name=f"mgr.{self._manager.id}",
            on_refusal=self._manager.metrics.count_refused,
        )

    def _make_term_parts(self) -> TermParts:
        manager = self._manager
        return TermParts(
            manager=manager,
            fenced=self._fenced,
            history=self._history,
            lease=LeaseId(self._term_context.lease),
            maps=self.maps,
            modules=self._modules,
            fleet=self.fleet,
            fleet_reader=FleetReader(manager.view, self.fleet, self._publisher.documents.of_ceph),
            counter_rows=CounterRowReader(self.fleet),
            background_commands=self._background_commands,
            board=self._board,
            log=self.log,
            progress=self._progress,
            remote=Remote(self._modules.instance_of),
            callers=Callers(manager.view.access, self._registry),
            ceph_commands=self._ceph,
            ceph_documents=self._publisher.documents,
            execute=self.execute,
        )

    def _make_journal(self) -> Journal:
        manager, term = self._manager, self._term_context.term
        store, clock = manager.store, manager.clock
        return Journal(self._fenced, manager.keys, manager.mirror, store, term=term, clock=clock)

    def _make_dispatcher(self) -> Dispatcher:
        manager = self._manager
        return Dispatcher(
            registry=self._registry,
            permit=manager.view.access.check,
            runner_of=self._runner_of,
            gate=self._term_context.gate,
            journal=self._journal,
            audit=self.audit,
            clock=manager.clock,
            tasks=self._tasks,
            hold_s=manager.settings.hold_s,
            is_admin=manager.view.access.is_admin,
        )

    async def _resign(self, *, reason: str, successor: str = "", asked_by: str = "") -> None:
        if successor:
            check_successor(successor, self._manager.view.presences(), own=self._manager.id)
        self._term_context.resign(reason, successor, asked_by)

    def _resign_if_set_down(self, _changes: object = None) -> None:
        if self._manager.mirror.get(self._manager.keys.down) is not None:
            self._term_context.resign("mgr set down", "", "")

    def _on_module_event(self, module: str, event: Event) -> None:
        if event is Event.SERVE_RAISED:
            self.term_log.module_failed(module, self._modules.error_of(module))
        if self._shows_modules:
            self._checks.update()

    def _on_module_reloaded(self, found: DiscoveredModule) -> None:
        self._term_context.commands.register(found)
        self._checks.update_options()
        self._publisher.modules_changed()

    def _on_module_stopped(self, module: str) -> None:
        self._board.clear(module)
        self._progress.drop(module)
        if self._draining:
            return  # a successor waits, and nobody reads what would be made here
        if self._shows_modules:
            self._checks.update()
        self._publisher.module_stopped(module)
        self._tasks.create_task(self._addresses.remove(module))

    def _on_fleet_changed(self) -> None:
        self._publisher.documents.mark_changed(FLEET_STATUS)
        self._checks.update()

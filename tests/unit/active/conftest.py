"""An active manager in one process: real threads, real store promises, modules made by tests."""

import asyncio
import contextlib

import pytest

from mgr.active.role import ActiveRole
from mgr.active.term_context import EarlierTerms, TermContext
from mgr.clock import CLOCK
from mgr.command.dispatch import Request
from mgr.config.enabled_modules import DEFAULT_ENABLED, Switch, encode
from mgr.config.values import ConfigValues
from mgr.election.records import Leader
from mgr.election.records import encode as encode_record
from mgr.host.cluster_view import ClusterView
from mgr.host.effects import declared_effects
from mgr.host.finder import DiscoveredModule
from mgr.host.worker_context import WorkerContext, follow_config, known_options
from mgr.metrics import Metrics
from mgr.module_api.command import collect_commands
from mgr.module_api.manifest import manifest_of
from mgr.module_api.module import MgrModule
from mgr.module_api.result import HandleCommandResult
from mgr.settings import Settings
from mgr.store.api import Put
from mgr.store.keys import Keys
from mgr.store.memory import MemoryStore
from mgr.store.mirror import Mirror
from mgr.worker.gate import Gate
from tests.unit.active.probe import Peer, Probe

TTL_S = 60


def command_table(prefix, perm="r"):
    """A ``COMMANDS`` table with one entry."""
    return [{"cmd": prefix, "desc": "Say", "perm": perm}]


def option(name, kind="str", **more):
    """A ``MODULE_OPTIONS`` table with one entry."""
    return [{"name": name, "type": kind, **more}]


def discovered_module(name, active, standby=None, *, can_run=True, error=""):
    """What the finder would say of these classes."""
    active._register_commands(name)
    active._register_options(name)
    return DiscoveredModule(
        name=name,
        place=f"/{name}/module.py",
        active=active,
        standby=standby,
        can_run=can_run,
        error=error,
        commands=tuple(collect_commands(active)),
        options=tuple(active.MODULE_OPTIONS),
        notify_types=frozenset(getattr(active, "NOTIFY_TYPES", ())),
        always_on=getattr(active, "ALWAYS_ON", False),
        effects=declared_effects(active),
        manifest=manifest_of(active, None),
    )


def module(name, **body):
    """A module class of its own for each test: classes keep what is registered on them."""
    return type(name.title(), (MgrModule,), {"__module__": f"made_{name}", **body})


def answering(name, text="hello"):
    """A module with one command, ``<name> say``."""

    def handle_command(_self, _inbuf, _cmd):
        return HandleCommandResult(stdout=text)

    command = {"cmd": f"{name} say", "desc": "Say", "perm": "r"}
    return discovered_module(name, module(name, COMMANDS=[command], handle_command=handle_command))


class Cluster:
    """A store with a mirror of it, and the active manager ``a`` over both."""

    def __init__(self, tasks, *found, **settings):
        self.tasks = tasks
        self.settings = Settings(**{"id": "a", "drain_s": 1.0, "hold_s": 2.0, **settings})
        self.keys = Keys("mgr")
        self.store = MemoryStore(CLOCK)
        self.mirror = Mirror(self.store, self.keys.root, CLOCK)
        self.catalogue = {one.name: one for one in sorted(found, key=lambda one: one.name)}
        self.resigned = []
        self.fenced = []

    async def open(self, *, effects_delay_s=0.0):
        """Become the active; effects outside may begin after ``effects_delay_s``."""
        self.lease = (await self.store.grant(TTL_S)).lease
        record = Leader(
            name="a",
            incarnation="i",
            grpc_address="10.0.0.1:7400",
            http_address="10.0.0.1:7480",
            version="1",
            since="2026-01-01T00:00:00+00:00",
            lease_ttl_s=TTL_S,
        )
        self.term = await self.store.create(
            self.keys.leader, encode_record(record), lease=self.lease
        )
        self.following = self.tasks.create_task(self.mirror.run())
        await self.mirror.wait_for_revision(self.term, 5)
        config = ConfigValues("a", known_options(self.settings, "host", self.catalogue), self.keys)
        follow_config(config, self.mirror, self.keys)
        self.manager = WorkerContext(
            settings=self.settings,
            incarnation="i",
            store=self.store,
            mirror=self.mirror,
            keys=self.keys,
            clock=CLOCK,
            catalogue=self.catalogue,
            config=config,
            view=ClusterView(self.mirror, self.keys, CLOCK, TTL_S),
            metrics=Metrics(),
        )
        self.gate = Gate(CLOCK, self.manager.view.leader)
        self.gate.extend(self.term, CLOCK.now() + TTL_S)
        term_context = TermContext(
            term=self.term,
            lease=self.lease,
            http_address="10.0.0.1:7480",
            gate=self.gate,
            resign=lambda why, to, _by: self.resigned.append((why, to)),
            on_fenced=self.fenced.append,
        )
        self.role = ActiveRole(self.manager, term_context, self.tasks)
        self.earlier = EarlierTerms(effects_from_s=CLOCK.now() + effects_delay_s)

    async def put(self, key, value):
        """Somebody else writes; returns when the mirror shows it."""
        revision = (await self.store.commit([Put(key, value)])).revision
        await self.mirror.wait_for_revision(revision, 5)

    async def switch(self, module, *, on):
        """Enable or disable a module."""
        await self.put(self.keys.module(module), encode(Switch(enabled=on)))

    async def ask(self, *words, **arguments):
        """Run a command; its answer."""
        request = Request(words=words, arguments=arguments, deadline_s=CLOCK.now() + 5)
        return await self.role.execute(request)

    async def health(self):
        """The health document by code."""
        return self.role._board.detail()["checks"]

    async def until(self, state):
        """Wait until ``state`` holds, with each turn of the loop."""
        async with asyncio.timeout(5):
            while not state():  # noqa: ASYNC110 - threads are at work: there is no one event
                await asyncio.sleep(0.001)


@contextlib.asynccontextmanager
async def cluster_of(*found, enabled=(), start=True, stored=None, effects_delay_s=0.0, **settings):
    """An active manager with these modules; everything is stopped in the end.

    ``stored`` are keys and values that earlier terms left behind, keys without the root.
    """
    async with asyncio.TaskGroup() as tasks:
        cluster = Cluster(tasks, *found, **settings)
        await cluster.open(effects_delay_s=effects_delay_s)
        for name in DEFAULT_ENABLED - set(enabled):
            await cluster.switch(name, on=False)
        for name in enabled:
            await cluster.switch(name, on=True)
        for key, value in (stored or {}).items():
            await cluster.put(cluster.keys.root + key, value)
        starting = tasks.create_task(cluster.role.start(cluster.earlier))
        if start:
            await starting
        try:
            yield cluster
        finally:
            await cluster.role.drain(0.3)
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others & set(tasks._tasks):
                task.cancel()


@pytest.fixture
def active():
    """Make active managers, each for a ``with`` block: of some modules, some of them enabled."""
    return cluster_of


@pytest.fixture
async def cluster(active):
    found = [discovered_module("probe", Probe), discovered_module("peer", Peer)]
    async with active(*found, enabled=["probe", "peer"]) as made:
        yield made


@pytest.fixture
def run(cluster):
    """Run ``work(module)`` on the module's thread; what it returned, or the error it raised."""

    async def on_its_thread(work):
        def caught(module):
            try:
                return work(module)
            except Exception as error:  # noqa: BLE001 - the test looks at it
                return error

        Probe.work = staticmethod(caught)
        answer = await cluster.ask("probe", "run")
        assert answer.retval == 0, answer
        return Probe.result

    return on_its_thread

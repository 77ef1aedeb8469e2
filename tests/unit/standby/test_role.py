"""The standby's part: refuses, and runs standby halves while another manager leads."""

import asyncio
import contextlib
import threading
from types import SimpleNamespace

import pytest

from mgr.audit.record import decode
from mgr.cli.run import WITHOUT_ACTIVE
from mgr.clock import CLOCK
from mgr.command.builtin import config, manager, module
from mgr.command.dispatch import Request
from mgr.config.enabled_modules import Switch, encode
from mgr.config.values import ConfigValues
from mgr.config.worker_deaths import quarantine_reason
from mgr.election.records import Leader
from mgr.election.records import encode as encode_record
from mgr.errors import InvalidArgumentError, NotActiveError, NotFoundError, OverloadedError
from mgr.host.cluster_view import ClusterView
from mgr.host.finder import module_reports
from mgr.host.worker_context import WorkerContext, follow_config, known_options
from mgr.metrics import Metrics
from mgr.module_api.module import MgrModule, MgrStandbyModule
from mgr.settings import Settings
from mgr.store.api import Put
from mgr.store.keys import Keys
from mgr.store.memory import MemoryStore
from mgr.store.mirror import Mirror
from standby import commands
from standby.commands import COMMANDS
from standby.role import StandbyRole
from tests.unit.active.conftest import discovered_module, option

TTL_S = 60
SAY = Request(words=("hello", "say"))


class World:
    """A store, and a standby ``b`` over it."""

    def __init__(self, tasks, *found):
        self.tasks = tasks
        self.keys = Keys("mgr")
        self.store = MemoryStore(CLOCK)
        self.mirror = Mirror(self.store, self.keys.root, CLOCK)
        self.following = tasks.create_task(self.mirror.run())
        catalogue = {one.name: one for one in found}
        settings = Settings(id="b")
        config = ConfigValues("b", known_options(settings, "host", catalogue), self.keys)
        follow_config(config, self.mirror, self.keys)
        self.manager = WorkerContext(
            settings=settings,
            incarnation="i",
            store=self.store,
            mirror=self.mirror,
            keys=self.keys,
            clock=CLOCK,
            catalogue=catalogue,
            config=config,
            view=ClusterView(self.mirror, self.keys, CLOCK, TTL_S),
            metrics=Metrics(),
        )
        self.role = StandbyRole(self.manager, tasks)
        self.running = tasks.create_task(self.role.run("10.0.0.2:7480"))

    async def put(self, key, value):
        revision = (await self.store.commit([Put(key, value)])).revision
        await self.mirror.wait_for_revision(revision, 5)

    async def switch(self, module, *, on):
        await self.put(self.keys.module(module), encode(Switch(enabled=on)))

    async def lead(self, name, incarnation="other"):
        """Let ``name`` become the active."""
        lease = (await self.store.grant(TTL_S)).lease
        record = Leader(
            name=name,
            incarnation=incarnation,
            grpc_address="10.0.0.1:7400",
            http_address="10.0.0.1:7480",
            version="1",
            since="",
            lease_ttl_s=TTL_S,
        )
        term = await self.store.create(self.keys.leader, encode_record(record), lease=lease)
        await self.mirror.wait_for_revision(term, 5)
        return term


@contextlib.asynccontextmanager
async def world_of(*found):
    async with asyncio.TaskGroup() as tasks:
        world = World(tasks, *found)
        await world.put(f"{world.keys.root}start", "")
        try:
            yield world
        finally:
            await world.role.stop()
            world.following.cancel()
            world.running.cancel()


class Halves:
    """A module whose standby half says when it starts and stops."""

    def __init__(self, name="web", *, obeys=True):
        started, stopped = self.started, self.stopped = threading.Event(), threading.Event()
        never = self.never = threading.Event()
        instances = self.instances = []

        class Waiting(MgrStandbyModule):
            MODULE_OPTIONS = option("port", "int", default=1)

            def __init__(self, *args):
                super().__init__(*args)
                self.stop = threading.Event()
                instances.append(self)

            def serve(self):
                started.set()
                (self.stop if obeys else never).wait()

            def shutdown(self):
                stopped.set()
                self.stop.set()

        Waiting._register_options(name)
        declared = {"MODULE_OPTIONS": option("port", "int", default=1)}
        self.found = discovered_module(name, type("Module", (MgrModule,), declared), Waiting)


async def test_a_standby_refuses_and_names_the_active():
    """Commands, descriptions and hand-overs alike, with address, name and term."""
    async with world_of() as world:
        term = await world.lead("a")

        with pytest.raises(NotActiveError) as refused:
            await world.role.execute(SAY)
        with pytest.raises(NotActiveError):
            world.role.describe()
        with pytest.raises(NotActiveError):
            await world.role.fail("a", "")

    error = refused.value
    assert (error.active_address, error.active_name, error.term) == ("10.0.0.1:7400", "a", term)


async def test_a_standby_names_nobody_while_nobody_leads():
    """Nor itself, whose last worker led a moment ago."""
    async with world_of() as world:
        with pytest.raises(NotActiveError, match="nobody leads yet"):
            await world.role.execute(SAY)
        await world.lead("b")
        with pytest.raises(NotActiveError, match="nobody leads yet"):
            await world.role.execute(SAY)


async def test_a_call_between_election_and_promotion_is_held_and_then_run():
    """Nobody else could be named: the winner is this very worker, a moment too early."""

    class Active:
        async def execute(self, request):
            return f"ran {request}"

    async with world_of() as world:
        await world.lead("b", incarnation=world.manager.incarnation)
        held = world.tasks.create_task(world.role.execute("it"))
        await asyncio.sleep(0)
        assert not held.done()

        world.role.promote(Active())

        assert await held == "ran it"


async def test_a_standby_has_no_leadership_to_give_up():
    """Asked by its own name it says so instead of sending the caller away."""
    async with world_of() as world:
        with pytest.raises(NotFoundError, match="'b' is a standby"):
            await world.role.fail("b", "")


async def test_standby_halves_run_while_another_manager_leads():
    """They read options and the active's address, and nothing else."""
    web = Halves()
    async with world_of(web.found) as world:
        await world.switch("web", on=True)
        await world.lead("a")
        await asyncio.to_thread(web.started.wait, 5)
        [instance] = web.instances
        await world.put(world.keys.service("web"), "http://active")
        await world.put(world.keys.option("mgr", "mgr/web/port"), "80")
        await world.put(world.keys.module_entry("web", "k"), "v")

        assert instance.get_active_uri() == "http://active"
        assert instance.get_module_option("port") == 80
        assert instance.get_store("k") == "v"
        assert instance.get("mgr_ips") == {"ips": ["10.0.0.2"]}
        assert instance.get("mgr_map") is None


async def test_a_standby_that_never_saw_an_active_starts_none():
    """Clients could be redirected to nobody, and its own leadership is not another's."""
    web = Halves()
    async with world_of(web.found) as world:
        await world.switch("web", on=True)
        await world.lead("b")
        for _ in range(5):
            await asyncio.sleep(0)

        assert web.instances == []


async def test_disabling_a_module_stops_its_standby_half():
    """In place, as on the active."""
    web = Halves()
    async with world_of(web.found) as world:
        await world.switch("web", on=True)
        await world.lead("a")
        await asyncio.to_thread(web.started.wait, 5)

        await world.switch("web", on=False)

        assert await asyncio.to_thread(web.stopped.wait, 5)


async def test_a_standby_half_whose_code_was_read_anew_starts_anew():
    """With the class that the catalogue has by now; one that does not run stays so."""
    web, newer = Halves(), Halves()
    async with world_of(web.found) as world:
        world.role.restart_module("web")
        await world.switch("web", on=True)
        await world.lead("a")
        await asyncio.to_thread(web.started.wait, 5)

        world.manager.register_module(newer.found)
        world.role.restart_module("web")

        assert await asyncio.to_thread(web.stopped.wait, 5)
        assert await asyncio.to_thread(newer.started.wait, 5)
        assert len(web.instances) == len(newer.instances) == 1


async def test_standby_halves_are_switched_off_and_on_by_an_option():
    """``mgr_standby_modules``, whichever way it is changed while they run."""
    web = Halves()
    async with world_of(web.found) as world:
        await world.switch("web", on=True)
        await world.lead("a")
        assert await asyncio.to_thread(web.started.wait, 5)

        await world.put(world.keys.option("mgr", "mgr_standby_modules"), "false")
        assert await asyncio.to_thread(web.stopped.wait, 5)
        web.started.clear()
        await world.put(world.keys.option("mgr", "mgr_standby_modules"), "true")

        assert await asyncio.to_thread(web.started.wait, 5)


async def test_promotion_does_not_wait_for_a_standby_half_that_hangs():
    """It is abandoned; the modules of the active are waiting."""
    web = Halves(obeys=False)
    async with world_of(web.found) as world:
        await world.switch("web", on=True)
        await world.lead("a")
        await asyncio.to_thread(web.started.wait, 5)
        began_s = CLOCK.now()

        assert await world.role.stop() is False

        assert CLOCK.now() - began_s < 5
        web.never.set()


async def test_a_standby_half_that_did_not_stop_when_disabled_is_not_forgotten():
    """No second one is started beside it, and the standby's end is not a clean one."""
    web = Halves(obeys=False)
    async with world_of(web.found) as world:
        await world.switch("web", on=True)
        await world.lead("a")
        await asyncio.to_thread(web.started.wait, 5)
        await world.switch("web", on=False)
        async with asyncio.timeout(5):
            while world.role._runners:  # noqa: ASYNC110 - threads are at work
                await asyncio.sleep(0.01)

        await world.switch("web", on=True)
        for _ in range(5):
            await asyncio.sleep(0)

        assert len(web.instances) == 1
        assert await world.role.stop() is False
        web.never.set()


@pytest.mark.parametrize("where", ["constructor", "serve"])
async def test_a_standby_half_that_fails_is_reported_to_the_active(where):
    """With its error, until it is disabled; the manager publishes it with its modules."""
    changes = asyncio.Queue()

    class Broken(MgrStandbyModule):
        def __init__(self, *args):
            super().__init__(*args)
            if where == "constructor":
                raise RuntimeError("no port free")

        def serve(self):
            raise RuntimeError("no port free")

        def shutdown(self):
            pass

    Broken._register_options("web")
    found = discovered_module("web", type("Module", (MgrModule,), {}), Broken)
    async with world_of(found) as world:
        world.role._on_errors_changed = lambda: changes.put_nowait(dict(world.role.errors))
        await world.switch("web", on=True)
        await world.lead("a")

        errors = await asyncio.wait_for(changes.get(), 5)
        [report] = module_reports(world.manager.catalogue, errors)
        assert "no port free" in errors["web"]
        assert report.standby_error == errors["web"]

        await world.switch("web", on=False)
        assert await asyncio.wait_for(changes.get(), 5) == {}


async def test_nothing_starts_after_promotion():
    """A record that arrives late changes nothing."""
    web = Halves()
    async with world_of(web.found) as world:
        await world.lead("a")
        assert await world.role.stop() is True

        await world.switch("web", on=True)

        assert web.instances == []


async def test_managers_that_were_set_down_are_raised_by_a_standby():
    """There is no active who could; the record is what the others look at."""
    async with world_of() as world:
        await world.put(world.keys.down, "since then")
        for wish, there in (("false", False), ("true", True), ("false", False), ("false", False)):
            said = await world.role.execute(Request(words=("mgr", "set", "down", wish)))
            record = await world.store.get(world.keys.down)

            assert (said.retval, record is not None) == (0, there)


def request(words, **more):
    return Request(words=tuple(words.split()), **more)


@pytest.mark.parametrize(
    ("words", "key", "value"),
    [
        ("mgr module disable web", "modules/web", encode(Switch(enabled=False))),
        ("mgr module enable web", "modules/web", encode(Switch(enabled=True))),
        ("mgr module enable far --force", "modules/far", encode(Switch(enabled=True))),
        (
            "mgr module force disable web --yes-i-really-mean-it",
            "modules/web",
            encode(Switch(forced_off=True)),
        ),
        ("mgr module release web", "quarantine/web", None),
        ("config set mgr debug_mgr 4/5", "config/mgr/debug_mgr", "4/5"),
        ("config rm mgr log_to_file", "config/mgr/log_to_file", None),
    ],
)
async def test_a_standby_executes_what_may_end_that_nobody_leads(words, key, value):
    """Stored as the active does, answered as what it is, with a note for the next active's log."""
    async with world_of(Halves().found) as world:
        await world.put(world.keys.option("mgr", "log_to_file"), "true")

        answers = [await world.role.execute(request(words, request_id=f"{n}" * 32)) for n in "ab"]

        assert [(each.retval, each.stderr) for each in answers] == [
            (0, "stored; no manager is active")
        ] * 2
        record = await world.store.get(f"{world.keys.root}{key}")
        assert (record and record.value) == value
        notes = world.mirror.list(world.keys.unled)
        prefix = next(each for each in COMMANDS if words.startswith(each))
        noted = [decode(note.value) for note in notes.values()]
        assert [(each.command, each.request_id, each.unled) for each in noted] == [
            (prefix, n * 32, True) for n in "ab"
        ]


@pytest.mark.parametrize(
    "words",
    [
        "mgr module enable far",
        "mgr module disable ../x",
        "mgr module force disable web",
        "config set mgr no_such_option 1",
        "config set mgr mgr_standby_modules x",
        "config rm nobody:1 debug_mgr",
    ],
)
async def test_a_refused_command_without_an_active_changes_nothing(words):
    """The errno and the reason are an answer; nothing is stored, no note either."""
    async with world_of(Halves().found) as world:
        before = await world.store.list(world.keys.root)

        answer = await world.role.execute(request(words))

        assert answer.retval < 0
        assert answer.stderr
        assert (await world.store.list(world.keys.root)).records == before.records


async def test_a_module_is_quarantined_and_released_without_an_active():
    """The record is the one that every manager reads."""
    async with world_of(Halves().found) as world:
        await world.role.execute(request("mgr module quarantine web"))
        assert quarantine_reason(world.mirror, world.keys, "web")

        await world.role.execute(request("mgr module release web"))
        assert not quarantine_reason(world.mirror, world.keys, "web")


async def test_every_command_without_an_active_is_one_of_the_active():
    """With the same signature, and offered by ``mgrctl`` to any manager."""
    context = SimpleNamespace(config=SimpleNamespace(schemas=None))
    nouns = (manager, module, config)
    active = {each.command.prefix: each.command for n in nouns for each in n.commands(context)}
    for prefix, command in COMMANDS.items():
        assert command.signature.to_text() == active[prefix].signature.to_text()
        assert active[prefix].idempotent
    assert {" ".join(words) for words in WITHOUT_ACTIVE} == set(COMMANDS)


async def test_a_request_that_an_active_began_is_left_to_an_active():
    """Only the next active can know whether it ran."""
    async with world_of(Halves().found) as world:
        await world.put(world.keys.request("a" * 32), "begun")

        with pytest.raises(NotActiveError):
            await world.role.execute(request("mgr module disable web", request_id="a" * 32))

        assert await world.store.get(world.keys.module("web")) is None


async def test_notes_for_the_next_active_are_limited(monkeypatch):
    """Without a note nothing is executed: it would be missing in the audit."""
    monkeypatch.setattr(commands, "NOTES_MAX", 3)
    async with world_of(Halves().found) as world:
        for number in range(3):
            await world.put(world.keys.unled_note(f"{number:03}"), "a note")

        with pytest.raises(OverloadedError):
            await world.role.execute(request("mgr module disable web"))

        assert len(world.mirror.list(world.keys.unled)) == 3
        assert await world.store.get(world.keys.module("web")) is None


@pytest.mark.parametrize("words", ["mgr set down maybe", "mgr set down"])
async def test_an_incomplete_command_without_an_active_is_refused(words):
    """As the active would refuse it."""
    async with world_of() as world:
        with pytest.raises(InvalidArgumentError):
            await world.role.execute(request(words))


@pytest.mark.parametrize("words", ["mgr set up true", "config dump", "web say", "mgr"])
async def test_a_standby_does_nothing_else_while_nobody_leads(words):
    """Whatever it is, an active will say what is wrong with it."""
    async with world_of() as world:
        await world.put(world.keys.down, "since then")
        with pytest.raises(NotActiveError):
            await world.role.execute(Request(words=tuple(words.split())))

        assert await world.store.get(world.keys.down) is not None


async def test_a_standby_leaves_it_to_an_active_that_it_has_not_seen_yet():
    """The proof that nobody leads stands in the transaction, not before it."""
    async with world_of() as world:
        await world.put(world.keys.down, "since then")
        world.following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await world.following
        lease = (await world.store.grant(TTL_S)).lease
        await world.store.create(world.keys.leader, "{}", lease=lease)

        with pytest.raises(NotActiveError):
            await world.role.execute(Request(words=("mgr", "set", "down", "false")))
        assert await world.store.get(world.keys.down) is not None

"""The active's part as a whole: what operators and modules see of it."""

import asyncio
import threading

import pytest

from mgr.command.dispatch import Request
from mgr.errors import (
    ModuleFailedError,
    ModuleNotEnabledError,
    NotActiveError,
    NotFoundError,
    TermLostError,
)
from mgr.module_api.command import CLIReadCommand, CLIWriteCommand
from mgr.module_api.module import MgrModule
from mgr.module_api.result import HandleCommandResult
from tests.unit.active.conftest import command_table, discovered_module, option


def module(name, **body):
    """A module class of its own for each test: classes keep what is registered on them."""
    return type(name.title(), (MgrModule,), {"__module__": f"made_{name}", **body})


def answering(name, text="hello"):
    """A module with one command, ``<name> say``."""

    def handle_command(_self, _inbuf, _cmd):
        return HandleCommandResult(stdout=text)

    command = {"cmd": f"{name} say", "desc": "Say", "perm": "r"}
    return discovered_module(name, module(name, COMMANDS=[command], handle_command=handle_command))


async def test_a_module_answers(active):
    """Words in, the module's words out."""
    async with active(answering("hello"), enabled=["hello"]) as cluster:
        answer = await cluster.ask("hello", "say")

    assert (answer.retval, answer.stdout, answer.term) == (0, "hello", cluster.term)


async def test_the_managers_own_commands_answer_with_no_module_at_all(active):
    """Operating the cluster needs no plug-in."""
    async with active() as cluster:
        answer = await cluster.ask("mgr", "stat")

    assert '"active_name":"a"' in answer.stdout.replace(" ", "")
    assert '"available":true' in answer.stdout.replace(" ", "")


async def test_commands_are_held_while_modules_start(active):
    """A failover is a pause: the first command of a client waits for its module."""
    go = threading.Event()

    class Slow(MgrModule):
        COMMANDS = command_table("slow say")

        def __init__(self, *args):
            super().__init__(*args)
            go.wait()

        def handle_command(self, _inbuf, _cmd):
            return 0, "at last", ""

    async with active(discovered_module("slow", Slow), enabled=["slow"], start=False) as cluster:
        async with asyncio.TaskGroup() as callers:
            answer = callers.create_task(cluster.ask("slow", "say"))
            await asyncio.sleep(0)
            assert cluster.role.state == "starting"
            go.set()
        await cluster.until(lambda: cluster.role.state == "active")

    assert answer.result().stdout == "at last"


async def test_modules_are_constructed_side_by_side(active):
    """One waits for the other's constructor: one after the other would never end."""
    meeting = threading.Barrier(2)

    def constructor(self, *args):
        MgrModule.__init__(self, *args)
        meeting.wait(5)

    found = [discovered_module(name, module(name, __init__=constructor)) for name in ("one", "two")]
    async with active(*found, enabled=["one", "two"]) as cluster:
        assert cluster.role.state == "active"


async def test_a_module_that_does_not_load_in_time_does_not_keep_the_cluster_headless(active):
    """The manager goes active without it and says so in health."""
    go = threading.Event()

    def constructor(self, *args):
        MgrModule.__init__(self, *args)
        go.wait()

    slow = discovered_module("slow", module("slow", __init__=constructor))
    async with active(slow, answering("hello"), enabled=["slow", "hello"], module_load_s=0.05) as c:
        assert c.role.state == "active"
        assert (await c.ask("hello", "say")).stdout == "hello"
        checks = await c.health()
        go.set()
        await c.until(lambda: "MGR_MODULE_ERROR" not in c.role._board.checks)

    expected = "Module 'slow' has failed: Module failed to initialize."
    assert checks["MGR_MODULE_ERROR"]["summary"]["message"] == expected


async def test_a_module_is_enabled_in_place(active):
    """Nothing else restarts, and its commands work as soon as the record is seen."""
    made = []

    def constructor(self, *args):
        MgrModule.__init__(self, *args)
        made.append(self)

    other = discovered_module("other", module("other", __init__=constructor))
    async with active(answering("hello"), other, enabled=["other"]) as cluster:
        with pytest.raises(ModuleNotEnabledError, match="'hello' is not enabled"):
            await cluster.ask("hello", "say")

        await cluster.switch("hello", on=True)

        assert (await cluster.ask("hello", "say")).stdout == "hello"
        assert len(made) == 1


async def test_a_module_is_disabled_in_place(active):
    """It is asked to stop, its health entries and its address go with it."""
    stopped = threading.Event()

    class Service(MgrModule):
        def __init__(self, *args):
            super().__init__(*args)
            self.set_uri("http://here")
            self.set_health_checks({"SERVICE_ODD": {"severity": "warning", "summary": "odd"}})

        def shutdown(self):
            stopped.set()

    async with active(discovered_module("service", Service), enabled=["service"]) as cluster:
        assert cluster.manager.view.services() == {"service": "http://here"}
        assert "SERVICE_ODD" in await cluster.health()

        await cluster.switch("service", on=False)
        await cluster.until(lambda: not cluster.manager.view.services())

        assert stopped.is_set()
        assert "SERVICE_ODD" not in await cluster.health()


async def test_a_module_enabled_again_while_it_stops_comes_back(active):
    """The last word counts, and the two instances never run side by side."""
    go, lives = threading.Event(), []

    class Slow(MgrModule):
        COMMANDS = command_table("slow say")

        def __init__(self, *args):
            super().__init__(*args)
            lives.append(self)

        def shutdown(self):
            go.wait()

        def handle_command(self, _inbuf, _cmd):
            return 0, str(lives.index(self)), ""

    async with active(discovered_module("slow", Slow), enabled=["slow"]) as cluster:
        await cluster.switch("slow", on=False)
        await cluster.switch("slow", on=True)
        assert len(lives) == 1
        go.set()
        await cluster.until(lambda: len(lives) == 2)

        assert (await cluster.ask("slow", "say")).stdout == "1"


async def test_every_way_of_failing_is_named_and_harms_nobody_else(active):
    """Health and ``mgr module ls`` name each, and the healthy module answers throughout."""

    def raises(self, *args):
        raise OSError("port taken")

    def crashes(self):
        raise ValueError("boom")

    unloadable = discovered_module("syntax", module("syntax"))
    found = [
        answering("hello"),
        discovered_module("ctor", module("ctor", __init__=raises)),
        discovered_module("serves", module("serves", serve=crashes)),
        discovered_module("cannot", module("cannot"), can_run=False, error="no disk"),
        type(unloadable)(name="syntax", place="/syntax", error="invalid syntax (module.py:3)"),
    ]
    names = [one.name for one in found]
    async with active(*found, enabled=[*names, "absent"]) as cluster:
        await cluster.until(lambda: "boom" in str(cluster.role._board.detail()))
        checks = await cluster.health()
        table = (await cluster.ask("mgr", "module", "ls")).stdout
        answer = await cluster.ask("hello", "say")

    errors = {line["message"] for line in checks["MGR_MODULE_ERROR"]["detail"]}
    assert errors == {
        "Module 'absent' has failed: Not found or unloadable",
        "Module 'ctor' has failed: port taken",
        "Module 'serves' has failed: boom",
        "Module 'syntax' has failed: invalid syntax (module.py:3)",
    }
    dependency = checks["MGR_MODULE_DEPENDENCY"]["summary"]["message"]
    assert dependency == "Module 'cannot' has failed dependency: no disk"
    for text in ("port taken", "boom", "invalid syntax", "no disk"):
        assert text in table
    assert answer.stdout == "hello"


async def test_commands_of_a_module_that_cannot_run_are_refused_with_the_reason(active):
    """Ceph constructs it all the same; only its commands say no."""
    found = answering("cannot")
    found = type(found)(
        **{f: getattr(found, f) for f in found.__slots__} | {"can_run": False, "error": "no disk"}
    )
    async with active(found, enabled=["cannot"]) as cluster:
        with pytest.raises(ModuleFailedError, match="cannot handle commands: no disk"):
            await cluster.ask("cannot", "say")


async def test_a_crash_in_serve_is_told_in_the_cluster_log(active):
    """Whoever follows the log sees it as it happens."""

    def crashes(self):
        raise ValueError("boom")

    async with active(
        discovered_module("bad", module("bad", serve=crashes)), enabled=["bad"]
    ) as cluster:
        line = "Unhandled exception from module 'bad' while running on mgr.a: boom"
        await cluster.until(lambda: line in [e.message for e in cluster.role.log.last(100)])


async def test_draining_finishes_what_runs_and_stops_what_serves(active):
    """A hand-over loses no command, and what it leaves behind is quiet."""
    inside, go = threading.Event(), threading.Event()

    class Busy(MgrModule):
        COMMANDS = command_table("busy say")

        def __init__(self, *args):
            super().__init__(*args)
            self.set_uri("http://here")
            self.stop = threading.Event()

        def serve(self):
            self.stop.wait()

        def shutdown(self):
            self.stop.set()

        def handle_command(self, _inbuf, _cmd):
            inside.set()
            go.wait()
            return 0, "done", ""

    async with active(discovered_module("busy", Busy), enabled=["busy"]) as cluster:
        async with asyncio.TaskGroup() as callers:
            running = callers.create_task(cluster.ask("busy", "say"))
            await asyncio.to_thread(inside.wait, 5)
            cluster.gate.drain()
            drained = callers.create_task(cluster.role.drain(2.0))
            await asyncio.sleep(0)
            assert cluster.role.state == "draining"
            go.set()

        assert running.result().stdout == "done"
        assert drained.result() is True
        assert cluster.manager.view.services() == {}


@pytest.mark.parametrize("stuck", ["command", "serve"])
async def test_what_does_not_end_in_the_budget_is_not_called_quiesced(active, stuck):
    """The guard then kills the worker before it gives the office back."""
    inside, never = threading.Event(), threading.Event()

    class Stuck(MgrModule):
        COMMANDS = command_table("stuck say")

        def serve(self):
            if stuck == "serve":
                inside.set()
                never.wait()

        def handle_command(self, _inbuf, _cmd):
            inside.set()
            never.wait()
            return 0, "", ""

    async with active(discovered_module("stuck", Stuck), enabled=["stuck"]) as cluster:
        if stuck == "command":
            caller = cluster.tasks.create_task(cluster.ask("stuck", "say"))
        await asyncio.to_thread(inside.wait, 5)
        cluster.gate.drain()

        assert await cluster.role.drain(0.2) is False

        never.set()
        if stuck == "command":
            await caller


async def test_a_command_of_the_managers_own_is_waited_for_as_well(active):
    """It may be in the middle of a write: then the office is not quiet yet."""
    inside, go = asyncio.Event(), asyncio.Event()
    async with active() as cluster:
        commit = cluster.store.commit

        async def slow(*args, **kwargs):
            inside.set()
            await go.wait()
            return await commit(*args, **kwargs)

        cluster.store.commit = slow
        caller = cluster.tasks.create_task(cluster.ask("config-key", "set", "k", "v"))
        await inside.wait()
        cluster.gate.drain()

        assert await cluster.role.drain(0.2) is False

        go.set()
        assert (await caller).retval == 0


async def test_a_lost_term_aborts_what_is_held_and_what_runs(active):
    """Callers learn at once that nobody can know, instead of waiting for nothing."""
    inside, go = threading.Event(), threading.Event()

    class Busy(MgrModule):
        COMMANDS = command_table("busy say")

        def handle_command(self, _inbuf, _cmd):
            inside.set()
            go.wait()
            return 0, "too late", ""

    async with active(discovered_module("busy", Busy), enabled=["busy"]) as cluster:
        outcomes = []

        async def caller():
            try:
                outcomes.append(await cluster.ask("busy", "say"))
            except TermLostError as error:
                outcomes.append(str(error))

        async with asyncio.TaskGroup() as callers:
            callers.create_task(caller())
            await asyncio.to_thread(inside.wait, 5)
            cluster.gate.end("deposed")
            cluster.role.abort("deposed")
        go.set()

    assert outcomes == ["deposed"]


async def test_a_caller_that_goes_away_is_not_an_aborted_one(active):
    """A cancelled call stays cancelled."""
    inside, go = threading.Event(), threading.Event()

    def handle(_self, _inbuf, _cmd):
        inside.set()
        go.wait()
        return 0, "", ""

    command = {"cmd": "busy say", "desc": "Say", "perm": "r"}
    found = discovered_module("busy", module("busy", COMMANDS=[command], handle_command=handle))
    async with active(found, enabled=["busy"]) as cluster:
        caller = cluster.tasks.create_task(cluster.ask("busy", "say"))
        await asyncio.to_thread(inside.wait, 5)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        go.set()


async def test_a_shut_gate_holds_and_then_refuses(active):
    """Past its deadline the active admits nothing."""
    async with active(answering("hello"), enabled=["hello"]) as cluster:
        cluster.gate.end("over")

        assert cluster.role.state == "suspended"
        with pytest.raises(NotActiveError):
            await cluster.ask("hello", "say")


async def test_a_write_that_the_store_refuses_ends_the_term(active):
    """The worker learns from its own write that a successor exists."""

    class Writes(MgrModule):
        @CLIWriteCommand("writes now")
        def now(self):
            """Write."""
            self.set_store("k", "v")
            return HandleCommandResult()

    async with active(discovered_module("writes", Writes), enabled=["writes"]) as cluster:
        await cluster.store.revoke(cluster.lease)

        with pytest.raises(TermLostError):
            await cluster.ask("writes", "now")

        assert [error.term for error in cluster.fenced] == [cluster.term]


async def test_failing_hands_over_to_a_named_standby_only_if_there_is_one(active):
    """A typing error does not leave the cluster without its active."""
    async with active() as cluster:
        with pytest.raises(NotFoundError, match="'b' is no warm standby"):
            await cluster.role.fail("", "b")
        with pytest.raises(NotFoundError, match="'c' is not the active one"):
            await cluster.role.fail("c", "")
        assert cluster.resigned == []

        await cluster.role.fail("a", "")

        assert cluster.resigned == [("mgr fail", "")]


async def test_what_there_is_to_ask_includes_disabled_modules(active):
    """Help shows them, and their refusal says how to enable them."""
    async with active(answering("hello")) as cluster:
        commands, tag = cluster.role.describe()

    assert "hello say" in {command.prefix for command in commands}
    assert tag


async def test_a_module_is_told_of_options_that_change(active):
    """Within the time of one crossing, on its own command thread."""
    heard = threading.Event()

    class Listens(MgrModule):
        MODULE_OPTIONS = option("place", default="World")
        seen = None

        def config_notify(self):
            Listens.seen = self.get_module_option("place")
            heard.set()

    async with active(discovered_module("listens", Listens), enabled=["listens"]) as cluster:
        await cluster.put(cluster.keys.option("mgr", "mgr/listens/place"), "Rome")
        await asyncio.to_thread(heard.wait, 5)

    assert Listens.seen == "Rome"


async def test_a_module_is_told_of_health_and_log_if_it_asked(active):
    """``NOTIFY_TYPES`` decides."""
    told = []
    heard = threading.Event()

    def notify(_self, kind, notify_id):
        told.append((kind, notify_id))
        if notify_id["message"] == "line":
            heard.set()

    asks = module("asks", NOTIFY_TYPES=["clog"], notify=notify)
    silent = module("silent", notify=lambda *_: told.append("wrong"))
    found = [discovered_module("asks", asks), discovered_module("silent", silent)]
    async with active(*found, enabled=["asks", "silent"]) as cluster:
        cluster.role.log.add("line", name="mgr.a")
        await asyncio.to_thread(heard.wait, 5)

    kind, entry = told[-1]
    assert (kind, entry["message"], entry["priority"]) == ("clog", "line", "[INF]")
    assert "wrong" not in told


async def test_a_retry_of_a_mutating_command_gets_the_first_answer(active):
    """The journal is wired in: a request id counts once."""
    counted = []

    class Counts(MgrModule):
        @CLIWriteCommand("counts up")
        def up(self):
            """Count."""
            counted.append(1)
            return HandleCommandResult(stdout=str(len(counted)))

        @CLIReadCommand("counts now")
        def now(self):
            """Tell."""
            return HandleCommandResult(stdout=str(len(counted)))

    async with active(discovered_module("counts", Counts), enabled=["counts"]) as cluster:
        request = Request(words=["counts", "up"], request_id="r-1")
        first = await cluster.role.execute(request)
        second = await cluster.role.execute(request)
        now = await cluster.ask("counts", "now")

    assert (first.stdout, second.stdout, now.stdout) == ("1", "1", "1")

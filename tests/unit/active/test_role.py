"""The active role as a whole: what operators and modules see of it."""

import asyncio
import threading

import pytest

from mgr.command.dispatch import Request
from mgr.errors import (
    ModuleFailedError,
    ModuleNotEnabledError,
    NotFoundError,
)
from mgr.module_api.command import CLIReadCommand, CLIWriteCommand
from mgr.module_api.module import MgrModule
from mgr.module_api.result import HandleCommandResult
from tests.unit.active.conftest import answering, command_table, discovered_module, module, option


async def test_a_module_answers(active):
    """Words in, the module's words out."""
    async with active(answering("hello"), enabled=["hello"]) as cluster:
        answer = await cluster.ask("hello", "say")

    assert (answer.retval, answer.stdout, answer.term) == (0, "hello", cluster.term)


async def test_of_two_modules_with_one_command_the_enabled_one_answers(active):
    """Also when that changes; with both, the first by name."""
    modules = []
    for name in ("first", "second"):
        body = {
            "COMMANDS": command_table("both say"),
            "handle_command": lambda m, *_: (0, m.module_name, ""),
        }
        modules.append(discovered_module(name, module(name, **body)))

    async with active(*modules, enabled=["second"]) as cluster:
        answers = [await cluster.ask("both", "say")]
        await cluster.switch("first", on=True)
        answers.append(await cluster.ask("both", "say"))
        await cluster.switch("first", on=False)
        answers.append(await cluster.ask("both", "say"))

    assert [each.stdout for each in answers] == ["second", "first", "second"]


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


def running(task):
    """Whether a task of this name runs."""
    return task in {each.get_name() for each in asyncio.all_tasks()}


async def test_a_module_that_failed_is_in_health_while_another_one_still_loads(active):
    """Health does not wait until every module has started."""
    go, fail = threading.Event(), threading.Event()

    def slow(self, *args):
        MgrModule.__init__(self, *args)
        go.wait()

    def broken(self, *_args):
        fail.wait()
        raise ValueError("no such city")

    found = [
        discovered_module("slow", module("slow", __init__=slow)),
        discovered_module("broken", module("broken", __init__=broken)),
    ]
    async with active(*found, enabled=["slow", "broken"], start=False) as cluster:
        await cluster.until(lambda: running("begin housekeeping"))
        await cluster.until(lambda: not running("begin housekeeping"))
        fail.set()
        await cluster.until(lambda: "MGR_MODULE_ERROR" in cluster.role._board.checks)
        assert cluster.role.state == "starting"
        go.set()
        await cluster.until(lambda: cluster.role.state == "active")


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


async def test_a_crash_in_serve_is_written_to_the_cluster_log(active):
    """Whoever follows the log sees it as it happens."""

    def crashes(self):
        raise ValueError("boom")

    async with active(
        discovered_module("bad", module("bad", serve=crashes)), enabled=["bad"]
    ) as cluster:
        line = "Unhandled exception from module 'bad' while running on mgr.a: boom"
        await cluster.until(lambda: line in [e.message for e in cluster.role.log.last(100)])


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


async def test_a_module_is_notified_of_changed_options(active):
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


async def test_a_module_is_notified_of_health_and_log_if_it_asked(active):
    """``NOTIFY_TYPES`` decides."""
    received = []
    heard = threading.Event()

    def notify(_self, kind, notify_id):
        received.append((kind, notify_id))
        if notify_id["message"] == "line":
            heard.set()

    asks = module("asks", NOTIFY_TYPES=["clog"], notify=notify)
    silent = module("silent", notify=lambda *_: received.append("wrong"))
    found = [discovered_module("asks", asks), discovered_module("silent", silent)]
    async with active(*found, enabled=["asks", "silent"]) as cluster:
        cluster.role.log.add("line", name="mgr.a")
        await asyncio.to_thread(heard.wait, 5)

    [(kind, entry)] = [each for each in received if "line" in str(each)]
    assert (kind, entry["message"], entry["priority"]) == ("clog", "line", "[INF]")
    assert "wrong" not in received


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

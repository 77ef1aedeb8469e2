"""Commands that do not end: who sees them, and where."""

import asyncio
import contextlib
import json
import threading

import pytest

from mgr.access.table import INTERNAL_CALLER, Caller
from mgr.active.health import checks
from mgr.active.health.command_checks import command_checks, slow_commands
from mgr.command.dispatch import Request
from mgr.command.running import RUNNING, WAITING, RunningCommand, client_text
from mgr.errors import DeadlineExceededError
from tests.unit.active.conftest import command_table, discovered_module, module, option

CODE = "MGR_COMMAND_SLOW"


class Hung:
    """A module whose command does not end before ``go`` is set."""

    def __init__(self):
        self.entered, self.go = threading.Event(), threading.Event()

        def handle_command(_self, _inbuf, _cmd):
            self.entered.set()
            self.go.wait()
            return 0, "at last", ""

        body = {
            "COMMANDS": command_table("hung do") + command_table("hung more"),
            "MODULE_OPTIONS": option("x"),
            "handle_command": handle_command,
        }
        self.found = discovered_module("hung", module("hung", **body))


@pytest.fixture
def hung(monkeypatch):
    monkeypatch.setattr(checks, "STORE_CHECK_EVERY_S", 0.01)
    case = Hung()
    yield case
    case.go.set()


@contextlib.asynccontextmanager
async def hanging(active, hung, *, slow="0.02"):
    """A cluster whose module ``hung`` runs a command whose caller has given up."""
    async with active(hung.found, enabled=["hung"]) as cluster:
        await cluster.put(cluster.keys.option("mgr", "mgr_command_slow_after"), slow)
        await cluster.put(cluster.keys.access_of("ops"), "allow *")
        who = Caller("ops", "10.1.2.3")
        request = Request(
            words=("hung", "do"), caller=who, deadline_s=cluster.manager.clock.now() + 0.2
        )
        with pytest.raises(DeadlineExceededError):
            await cluster.role.execute(request)
        assert hung.entered.is_set()
        try:
            yield cluster
        finally:
            hung.go.set()


async def listed(cluster):
    return json.loads((await cluster.ask("command", "ls", format="json")).stdout)


async def test_a_command_whose_caller_gave_up_is_listed_until_it_ends(active, hung):
    """Which, on which thread, since when, for whom; a second one waits for the same thread."""
    async with hanging(active, hung) as cluster:
        second = cluster.tasks.create_task(cluster.ask("hung", "more"))
        await cluster.until(lambda: len(cluster.role._modules.command_calls.all()) == 2)
        first, waiting = await listed(cluster)
        plain = (await cluster.ask("command", "ls")).stdout
        hung.go.set()
        await second
        after = await listed(cluster)

    assert first["command"] == "hung do"
    assert (first["module"], first["thread"], first["state"]) == ("hung", "hung-commands", RUNNING)
    assert first["client"] == "ops at 10.1.2.3"
    assert first["age_s"] > 0
    assert first["since"].startswith("20")
    assert (waiting["command"], waiting["state"]) == ("hung more", WAITING)
    assert plain.splitlines()[1].startswith("hung do")
    assert after == []


async def test_health_names_a_command_that_does_not_end(active, hung):
    """As long as it runs, and no longer."""
    async with hanging(active, hung) as cluster:
        await cluster.until(lambda: CODE in cluster.role._board.detail()["checks"])
        check = (await cluster.health())[CODE]
        hung.go.set()
        await cluster.until(lambda: CODE not in cluster.role._board.detail()["checks"])

    assert check["severity"] == "HEALTH_WARN"
    assert "'hung do' of module 'hung' runs on hung-commands since 2" in check["summary"]["message"]
    assert "for ops at 10.1.2.3" in check["summary"]["message"]
    assert "mgrctl command ls" in check["detail"][-1]["message"]


async def test_the_option_turns_it_off(active, hung):
    """0 means never."""
    async with hanging(active, hung, slow="0") as cluster:
        await asyncio.sleep(0.1)
        assert CODE not in await cluster.health()


async def test_a_command_that_was_not_begun_is_forgotten_with_its_caller(active, hung):
    """It will never run."""
    async with hanging(active, hung) as cluster:
        second = cluster.tasks.create_task(cluster.ask("hung", "more"))
        await cluster.until(lambda: len(cluster.role._modules.command_calls.all()) == 2)
        second.cancel()
        await asyncio.wait([second])

        assert [each["command"] for each in await listed(cluster)] == ["hung do"]


def command(prefix, age_s, state=RUNNING, module="m"):
    return RunningCommand(
        prefix=prefix,
        module=module,
        thread=f"{module}-commands",
        client="me",
        since="2026",
        age_s=age_s,
        state=state,
    )


def test_of_commands_behind_one_thread_the_running_one_is_named():
    """If none runs, the thread is busy with something else: the one that waits is named."""
    behind = command("late", 30, WAITING)
    assert slow_commands([behind, command("cause", 20)], lambda _: 10) == (
        "'cause' of module 'm' runs on m-commands since 2026, for me",
    )
    assert slow_commands([behind], lambda _: 10) == (
        "'late' of module 'm' waits for m-commands since 2026, for me",
    )
    assert slow_commands([command("quick", 9)], lambda _: 10) == ()


def test_many_slow_commands_are_counted_and_the_first_are_shown():
    """A list has a limit."""
    slow = slow_commands([command(f"c{n}", 11, module=f"m{n}") for n in range(50)], lambda _: 10)
    [check] = command_checks(slow)

    assert check.summary == "50 commands do not end"
    assert (check.count, len(check.detail)) == (50, 22)


def test_a_client_is_described_by_what_is_known_of_it():
    """The manager itself has neither name nor address."""
    assert client_text(INTERNAL_CALLER) == "this manager"
    assert client_text(Caller("a")) == "a"
    assert client_text(Caller.anonymous("10.0.0.1")) == "10.0.0.1"

"""How a term ends: what a drain waits for, and what a lost term answers."""

import asyncio
import threading

import pytest

from mgr.errors import NotActiveError, TermLostError
from mgr.module_api.command import CLIWriteCommand
from mgr.module_api.module import MgrModule
from mgr.module_api.result import HandleCommandResult
from tests.unit.active.conftest import answering, command_table, discovered_module, module


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
async def test_a_drain_past_its_budget_is_not_quiesced(active, stuck):
    """The guard then kills the worker before it releases leadership."""
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
    """It may be in the middle of a write: then the term is not quiesced yet."""
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

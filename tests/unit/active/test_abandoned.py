"""A module that does not stop when it is disabled: it stays on the books, and is named."""

from __future__ import annotations

import json
import socket
import subprocess
import threading

import pytest

from mgr.active.health import checks
from mgr.active.modules import leftovers
from mgr.errors import ModuleFailedError
from mgr.host.bridge import module_threads, track_module_threads
from mgr.host.module_resources import MAKE_PROCESSES, track_module_resources
from mgr.module_api.module import MgrModule
from tests.unit.active.conftest import command_table, discovered_module

CODE = "MGR_MODULE_ABANDONED"


class Case:
    """The module ``stubborn``: each instance acts until ``never``, whatever it is asked."""

    def __init__(self):
        self.never = threading.Event()
        self.made = []
        case = self

        class Stubborn(MgrModule):
            COMMANDS = command_table("stubborn say")

            def __init__(self, *args):
                super().__init__(*args)
                case.made.append(self)

            def serve(self):
                case.never.wait()

            def handle_command(self, _inbuf, _cmd):
                return 0, "here", ""

        self.found = discovered_module("stubborn", Stubborn)


@pytest.fixture
def case():
    made = Case()
    yield made
    made.never.set()


async def abandoned(cluster):
    """Disable the module and wait until it is given up."""
    await cluster.switch("stubborn", on=False)
    await cluster.until(lambda: CODE in cluster.role._board.checks)
    await cluster.until(lambda: not cluster.role._modules._runners)


async def test_a_disabled_module_that_goes_on_is_no_quiesced_drain(active, case):
    """The certificate says that nothing of the term acts any more: it would lie."""
    async with active(case.found, enabled=["stubborn"], drain_s=0.05) as cluster:
        await abandoned(cluster)
        assert await cluster.role.drain(0.2) is False
        case.never.set()


async def test_health_names_it_since_when_and_what_to_do(active, case):
    """A warning, also though the module is disabled."""
    async with active(case.found, enabled=["stubborn"], drain_s=0.05) as cluster:
        await abandoned(cluster)
        check = (await cluster.health())[CODE]
        [line] = check["detail"]
        case.never.set()

    assert check["severity"] == "HEALTH_WARN"
    assert "an instance of module 'stubborn' did not stop at 2" in line["message"]
    assert "mgrctl mgr fail" in line["message"]


async def test_no_second_instance_runs_beside_it(active, case):
    """Enabling is accepted, and says why nothing starts; its commands say so, too."""
    async with active(case.found, enabled=["stubborn"], drain_s=0.05) as cluster:
        await abandoned(cluster)

        answer = await cluster.ask("mgr", "module", "enable", "stubborn")
        listed = (await cluster.ask("mgr", "module", "ls")).stdout
        health = await cluster.health()
        with pytest.raises(ModuleFailedError, match="did not stop at"):
            cluster.role._modules.runner_of("stubborn")
        made = len(case.made)
        stored = cluster.mirror.get(cluster.keys.module("stubborn")).value
        case.never.set()

    assert answer.retval == 0
    assert "is enabled and not started yet: an instance of module 'stubborn'" in answer.stderr
    assert json.loads(stored)["enabled"] is True
    assert "did not stop at" in listed
    assert (made, "MGR_MODULE_ERROR" in health) == (1, False)


async def test_it_starts_as_soon_as_the_earlier_instance_has_ended(active, case):
    """Then nothing is on the books any more, and a drain is a clean one."""
    async with active(case.found, enabled=["stubborn"], drain_s=0.05) as cluster:
        await abandoned(cluster)
        await cluster.ask("mgr", "module", "enable", "stubborn")

        case.never.set()
        await cluster.until(lambda: len(case.made) == 2)
        answer = await cluster.ask("stubborn", "say")

        assert answer.stdout == "here"
        assert CODE not in await cluster.health()
        assert await cluster.role.drain(2.0) is True


@pytest.mark.parametrize(("effects", "quiesced"), [("external", False), ("store", True)])
async def test_a_thread_that_a_module_started_and_did_not_end_is_no_quiesced_drain(
    active, monkeypatch, effects, quiesced
):
    """Its ``shutdown`` returns and its ``serve`` has ended; what it started acts on."""
    monkeypatch.setattr(threading.Thread, "start", threading.Thread.start)
    track_module_threads()
    never = threading.Event()

    class Starts(MgrModule):
        EFFECTS = effects

        def serve(self):
            threading.Thread(target=never.wait, daemon=True).start()

    async with active(discovered_module("starts", Starts), enabled=["starts"]) as cluster:
        await cluster.until(module_threads)
        assert cluster.role._modules.acts_outside is not quiesced
        assert await cluster.role.drain(0.2) is quiesced
        never.set()


async def test_a_thread_that_ends_a_moment_later_is_waited_for(active, monkeypatch):
    """Within the budget of the drain."""
    monkeypatch.setattr(threading.Thread, "start", threading.Thread.start)
    track_module_threads()
    stop = threading.Event()

    def end_late():
        stop.wait()
        threading.Event().wait(0.1)

    class Late(MgrModule):
        def serve(self):
            threading.Thread(target=end_late, daemon=True).start()

        def shutdown(self):
            stop.set()

    async with active(discovered_module("late", Late), enabled=["late"]) as cluster:
        await cluster.until(module_threads)
        assert await cluster.role.drain(5.0) is True


async def test_a_reload_reports_that_the_new_code_does_not_run(active, case, monkeypatch):
    """The files were read again; the old instance acts on."""

    async def read(_settings, _name):
        return case.found

    monkeypatch.setattr("mgr.active.modules.modules.reread_files", read)
    async with active(case.found, enabled=["stubborn"], drain_s=0.05) as cluster:
        answer = await cluster.ask("mgr", "module", "reload", "stubborn")
        made = len(case.made)
        case.never.set()

    assert (answer.retval, made) == (0, 1)
    assert "it does not run: an instance of module 'stubborn' did not stop" in answer.stderr


async def test_threads_that_a_disabled_module_left_are_named(active, monkeypatch):
    """By the answer of the command, and in health until they have ended."""
    monkeypatch.setattr(threading.Thread, "start", threading.Thread.start)
    monkeypatch.setattr(checks, "STORE_CHECK_EVERY_S", 0.01)
    monkeypatch.setattr(leftovers, "END_S", 0.05)
    track_module_threads()
    never = threading.Event()

    class Starts(MgrModule):
        def __init__(self, *args):
            super().__init__(*args)
            threading.Thread(target=never.wait, name="forgotten", daemon=True).start()

    try:
        async with active(discovered_module("starts", Starts), enabled=["starts"]) as cluster:
            await cluster.until(module_threads)
            assert CODE not in await cluster.health()

            answer = await cluster.ask("mgr", "module", "disable", "starts")
            await cluster.until(lambda: CODE in cluster.role._board.checks)

            assert "threads that it started still run: forgotten" in answer.stderr
            check = (await cluster.health())[CODE]
            assert "module 'starts' was stopped" in check["summary"]["message"]
            never.set()
            await cluster.until(lambda: CODE not in cluster.role._board.checks)
    finally:
        never.set()


async def test_processes_and_sockets_that_a_disabled_module_left_are_named(active, monkeypatch):
    """A process of its own session, too; in health until they are gone."""
    for owner, name in (*MAKE_PROCESSES, (socket.socket, "listen")):
        monkeypatch.setattr(owner, name, getattr(owner, name))
    monkeypatch.setattr(checks, "STORE_CHECK_EVERY_S", 0.01)
    monkeypatch.setattr(leftovers, "END_S", 0.05)
    track_module_resources()
    left = []

    class Starts(MgrModule):
        def __init__(self, *args):
            super().__init__(*args)
            left.append(subprocess.Popen(["sleep", "60"], start_new_session=True))
            left.append(socket.create_server(("127.0.0.1", 0)))

    async with active(discovered_module("starts", Starts), enabled=["starts"]) as cluster:
        await cluster.until(lambda: len(left) == 2)
        process, listening = left
        try:
            assert CODE not in await cluster.health()

            answer = await cluster.ask("mgr", "module", "disable", "starts")
            await cluster.until(lambda: CODE in cluster.role._board.checks)

            assert f"processes that it started still run: {process.pid} (sleep 60)" in answer.stderr
            port = listening.getsockname()[1]
            assert f"sockets that it opened still listen: 127.0.0.1:{port}" in answer.stderr
        finally:
            process.kill()
            listening.close()
        await cluster.until(lambda: CODE not in cluster.role._board.checks)
        process.wait()


async def test_the_answer_names_an_instance_that_did_not_stop(active, case):
    """Health does too; the command has stored the wish all the same."""
    async with active(case.found, enabled=["stubborn"]) as cluster:
        answer = await cluster.ask("mgr", "module", "disable", "stubborn")

        assert answer.retval == 0
        assert "an instance of module 'stubborn' did not stop" in answer.stderr


async def test_a_module_that_stops_is_disabled_without_a_word(active):
    """Nothing of it acts any more."""
    module = discovered_module("quiet", type("Quiet", (MgrModule,), {}))
    async with active(module, enabled=["quiet"]) as cluster:
        answer = await cluster.ask("mgr", "module", "disable", "quiet")

        assert (answer.retval, answer.stderr) == (0, "")

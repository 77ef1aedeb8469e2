"""One module in its threads: real bridge, real loop, modules that do what modules do."""

import asyncio
import threading
from dataclasses import replace
from types import SimpleNamespace

import pytest

from mgr.clock import CLOCK
from mgr.errors import (
    ModuleFailedError,
    ModuleNotReadyError,
    NotActiveError,
    NotAuthorizedError,
    OverloadedError,
)
from mgr.host.lifecycle import Event, Phase
from mgr.host.limits import Limits
from mgr.host.runner import NOT_INITIALISED, ModuleRunner

QUICK = Limits(stop_s=0.2, pause_s=0.001, pause_max_s=0.002, probation_s=0.01, commands_max=8)
COMMAND = SimpleNamespace(prefix="hello")


class Module:
    """Serves until told to stop, and answers with what it was asked."""

    def __init__(self):
        self.stop = threading.Event()
        self.notifications = []
        self.notification_event = threading.Event()

    def serve(self):
        self.stop.wait()

    def shutdown(self):
        self.stop.set()

    def _handle_command(self, inbuf, arguments):
        return 0, f"{inbuf}{arguments['prefix']}", ""

    def notify(self, kind, notify_id):
        self.notifications.append((kind, notify_id))
        self.notification_event.set()

    def _config_notify(self):
        self.notifications.append("config")
        self.notification_event.set()


class Host:
    """A task group with runners in it, and every event they told of."""

    def __init__(self, group):
        self.group = group
        self.events = []
        self.runners = []

    def run(self, construct, limits=QUICK):
        runner = ModuleRunner(
            "hello",
            lambda _bridge: construct(),
            limits=limits,
            clock=CLOCK,
            on_event=lambda _runner, event: self.events.append(event),
        )
        self.runners.append(runner)
        self.group.create_task(runner.run_until_stopped())
        return runner


async def until(runner, phase):
    async with asyncio.timeout(5):
        await runner.wait_until(lambda: runner.phase is phase)


def soon():
    return CLOCK.now() + 5


async def ask(runner, **arguments):
    arguments = {"prefix": "hello", **arguments}
    return await runner.run(COMMAND, arguments, "", deadline_s=soon())


async def test_a_module_is_constructed_serves_and_answers(host):
    """From nothing to an answer."""
    runner = host.run(Module)

    await runner.ready(until_s=soon())

    assert await ask(runner) == (0, "hello", "")
    assert runner.phase is Phase.RUNNING
    assert runner.error == ""


async def test_a_serve_that_returns_leaves_the_module_usable(host):
    """Most modules have nothing to serve."""
    module = Module()
    module.stop.set()
    runner = host.run(lambda: module)
    await runner.ready(until_s=soon())

    assert await ask(runner) == (0, "hello", "")


async def test_commands_are_held_while_the_module_is_constructed(host):
    """A failover looks like a pause, not like an error."""
    go = threading.Event()

    def slow():
        go.wait()
        return Module()

    runner = host.run(slow)
    async with asyncio.TaskGroup() as callers:
        answer = callers.create_task(ask(runner))
        await asyncio.sleep(0)
        assert not answer.done()
        go.set()

    assert answer.result() == (0, "hello", "")


async def test_a_command_is_held_no_longer_than_its_caller_waits(host):
    """The caller hears that nothing ran, in time."""
    go = threading.Event()
    runner = host.run(lambda: go.wait() and Module())

    with pytest.raises(ModuleNotReadyError, match="did not initialize in time"):
        await runner.ready(until_s=CLOCK.now() + 0.01)
    go.set()


async def test_a_module_past_the_load_limit_is_reported_until_it_is_there(host):
    """The manager becomes active without it, and starts it later."""
    go = threading.Event()
    runner = host.run(lambda: go.wait() and Module())

    runner.load_limit_passed()
    await runner.wait_loaded()
    assert (runner.phase, runner.error) == (Phase.LATE, NOT_INITIALISED)

    go.set()
    await until(runner, Phase.RUNNING)
    assert runner.error == ""


async def test_a_constructor_that_raises_is_reported_and_tried_again(host):
    """A port that was taken is free a moment later."""
    failures = ["first", "second"]

    def construct():
        if failures:
            raise OSError(failures.pop(0))
        return Module()

    runner = host.run(construct, Limits(pause_s=0.001, probation_s=0.01))
    await until(runner, Phase.FAILED)
    assert runner.error == "first"
    with pytest.raises(ModuleFailedError, match=r"experienced an error .*: first"):
        await ask(runner)

    await until(runner, Phase.PROBATION)
    assert runner.error == "second"
    assert await ask(runner) == (0, "hello", "")

    await until(runner, Phase.RUNNING)
    assert runner.error == ""
    assert runner.restarts == 2


async def test_a_serve_that_raises_is_reported_and_the_module_restarted(host):
    """The second instance works; the first is told to shut down."""
    made = []

    class Dies(Module):
        def __init__(self):
            super().__init__()
            made.append(self)

        def serve(self):
            if len(made) == 1:
                raise ValueError("boom")
            super().serve()

    runner = host.run(Dies)
    await until(runner, Phase.FAILED)
    assert runner.error == "boom"
    assert runner.instance is made[0]

    await until(runner, Phase.RUNNING)
    assert runner.instance is made[1]
    assert made[0].stop.is_set()
    assert Event.SERVE_RAISED in host.events


async def test_a_module_that_failed_still_tests_itself(host):
    """By the one command that says what is wrong with it; any other is refused."""

    class Dies(Module):
        def serve(self):
            raise ValueError("boom")

    runner = host.run(Dies, Limits(pause_s=60))
    await until(runner, Phase.FAILED)
    test = SimpleNamespace(prefix="hello self-test")

    answer = await runner.run(test, {"prefix": test.prefix}, "", deadline_s=soon())

    assert answer == (0, "hello self-test", "")
    with pytest.raises(ModuleFailedError, match="boom"):
        await ask(runner)


async def test_a_module_that_leaves_by_exit_harms_only_itself(host):
    """``sys.exit()`` in serve is a crash of the module, not the end of the manager."""

    class Leaves(Module):
        def serve(self):
            raise SystemExit(3)

    runner = host.run(Leaves, Limits(pause_s=60))
    await until(runner, Phase.FAILED)

    assert runner.error == "SystemExit: 3"


@pytest.mark.parametrize(
    "raised",
    [SystemExit(3), OverloadedError("me"), NotAuthorizedError("me"), StopIteration()],
)
async def test_a_command_that_began_never_looks_like_a_refusal(host, raised):
    """A refusal says that nothing ran, and a retry would run the command a second time."""

    class Leaving(Module):
        def _handle_command(self, inbuf, arguments):
            raise raised

    runner = host.run(Leaving)
    await runner.ready(until_s=soon())

    with pytest.raises(RuntimeError, match=type(raised).__name__):
        await ask(runner)


async def test_stopping_waits_for_serve(host):
    """Stopped means that nothing of the module runs."""
    ended = []

    class Slow(Module):
        def serve(self):
            super().serve()
            ended.append("serve")

    runner = host.run(Slow)
    await runner.ready(until_s=soon())

    assert await runner.stop() is True
    assert ended == ["serve"]
    assert runner.phase is Phase.STOPPED


@pytest.mark.parametrize("stuck", ["serve", "shutdown", "command"])
async def test_a_module_that_does_not_stop_is_abandoned(host, stuck):
    """Whatever hangs, the manager goes on, and knows that something was left behind."""
    never = threading.Event()

    class Stuck(Module):
        def serve(self):
            never.wait() if stuck == "serve" else super().serve()

        def shutdown(self):
            never.wait() if stuck == "shutdown" else super().shutdown()

        def _handle_command(self, _inbuf, _arguments):
            never.wait()

    runner = host.run(Stuck)
    await runner.ready(until_s=soon())
    caller = host.group.create_task(ask(runner)) if stuck == "command" else None
    await asyncio.sleep(0)

    assert await runner.stop(limit_s=0.05) is False

    assert runner.phase is Phase.ABANDONED
    with pytest.raises(ModuleFailedError):
        await ask(runner)
    never.set()
    if caller is not None:
        await caller


async def test_a_command_that_waits_for_shutdown_does_not_keep_the_module_from_stopping(host):
    """A handler blocked on the module's own stop event is let go."""

    class Waits(Module):
        def _handle_command(self, _inbuf, _arguments):
            self.stop.wait()
            return 0, "let go", ""

    runner = host.run(Waits)
    await runner.ready(until_s=soon())
    caller = host.group.create_task(ask(runner))
    await asyncio.sleep(0)

    assert await runner.stop(limit_s=0.4) is True
    assert await caller == (0, "let go", "")


async def test_a_module_can_be_stopped_while_it_is_constructed(host):
    """Disabling a slow module waits for its constructor and then shuts it down."""
    go, made = threading.Event(), []

    def slow():
        go.wait()
        made.append(Module())
        return made[0]

    runner = host.run(slow)
    await asyncio.sleep(0)
    stopping = host.group.create_task(runner.stop(limit_s=5))
    await asyncio.sleep(0)
    go.set()

    assert await stopping is True
    assert made[0].stop.is_set()


async def test_a_shutdown_that_raises_counts_as_stopped(host):
    """What is over is over, however it ended."""

    class Raises(Module):
        def shutdown(self):
            super().shutdown()
            raise RuntimeError("late")

    runner = host.run(Raises)
    await runner.ready(until_s=soon())

    assert await runner.stop() is True


async def test_a_command_whose_moment_has_passed_is_not_begun(host):
    """Whoever asked has gone; what changes something must not change it now."""
    ran = []

    class Counts(Module):
        def _handle_command(self, _inbuf, _arguments):
            ran.append(1)

    runner = host.run(Counts)
    await runner.ready(until_s=soon())

    with pytest.raises(OverloadedError, match="did not run"):
        await runner.run(COMMAND, {"prefix": "hello"}, "", deadline_s=CLOCK.now())
    assert ran == []


async def test_a_command_that_waited_past_the_end_of_the_term_is_not_begun(host):
    """The gate is looked at on the module's thread: the process may have slept in the queue."""
    ran = []

    class Counts(Module):
        def _handle_command(self, _inbuf, _arguments):
            ran.append(1)

    runner = host.run(Counts, limits=replace(QUICK, may_begin=lambda: False))
    await runner.ready(until_s=soon())

    with pytest.raises(NotActiveError):
        await runner.run(COMMAND, {"prefix": "hello"}, "", deadline_s=soon())
    assert ran == []


async def test_a_command_whose_caller_may_not_any_more_is_not_begun(host):
    """It waited for the module's thread, and the right was taken away meanwhile."""
    ran, asked_on = [], []

    class Counts(Module):
        def _handle_command(self, _inbuf, _arguments):
            ran.append(1)

    def permit():
        asked_on.append(threading.current_thread().name)
        raise NotAuthorizedError("not any more")

    runner = host.run(Counts)
    await runner.ready(until_s=soon())

    with pytest.raises(NotAuthorizedError, match="not any more"):
        await runner.run(COMMAND, {"prefix": "hello"}, "", deadline_s=soon(), permit=permit)
    assert ran == []
    assert asked_on == ["hello-commands"]


async def test_notifications_of_one_kind_that_meet_are_merged(host):
    """A module that is busy for a minute is not told of every second of it."""
    go, module = threading.Event(), Module()
    module._handle_command = lambda _inbuf, _arguments: go.wait()
    runner = host.run(lambda: module)
    await runner.ready(until_s=soon())
    busy = host.group.create_task(ask(runner))
    await asyncio.sleep(0)

    for _ in range(5):
        runner.notify("health")
        runner.notify_config()
    runner.notify("command", "tag-1")
    runner.notify("command", "tag-2")
    runner.notify("clog", {"seq": 1})
    runner.notify("clog", {"seq": 2})
    go.set()
    await busy
    await asyncio.to_thread(module.notification_event.wait, 5)
    await ask(runner)

    assert module.notifications == [
        "config",
        ("health", ""),
        ("command", "tag-1"),
        ("command", "tag-2"),
        ("clog", {"seq": 1}),
        ("clog", {"seq": 2}),
    ]


async def test_a_notification_that_comes_during_construction_is_delivered_after_it(host):
    """An option that changes while the constructor reads it is not missed."""
    go, module = threading.Event(), Module()
    runner = host.run(lambda: go.wait() and module)

    runner.notify_config()
    go.set()
    await asyncio.to_thread(module.notification_event.wait, 5)

    assert module.notifications == ["config"]


async def test_a_watch_ends_with_the_instance_that_asked(host):
    """The next instance sets its own watches."""
    made = []

    class Fails(Module):
        def __init__(self):
            super().__init__()
            made.append(self)

        def serve(self):
            if len(made) == 1:
                self.notification_event.wait(5)
                raise ValueError("boom")
            super().serve()

    runner = host.run(Fails, Limits(stop_s=0.2, pause_s=0.001, probation_s=60))
    await until(runner, Phase.RUNNING)
    runner.watch("job/")
    runner.notify_store("other")
    runner.notify_store("job/1")
    await until(runner, Phase.PROBATION)
    runner.notify_store("job/2")
    runner.notify("health")
    await asyncio.to_thread(made[1].notification_event.wait, 5)

    assert made[0].notifications == [("store", "job/1")]
    assert made[1].notifications == [("health", "")]

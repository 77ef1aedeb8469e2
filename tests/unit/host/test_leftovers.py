"""Instances that do not stop: the runner knows of them, and starts no second one beside them."""

import asyncio
import threading

import pytest

from mgr.errors import ModuleFailedError
from mgr.host.abandoned import AbandonedInstances, ModuleRole
from mgr.host.lifecycle import Event, Phase
from mgr.host.limits import Limits
from mgr.host.runner import EARLIER_RUNS
from tests.unit.host.test_runner import Module, ask, soon, until

TIGHT = Limits(stop_s=0.02, pause_s=0.001, probation_s=60)


class Family:
    """Makes instances whose ``serve`` fails the first time; a call of the first one hangs."""

    def __init__(self):
        self.never = threading.Event()
        self.made = []

    def construct(self):
        family = self

        class Hangs(Module):
            def serve(self):
                if family.made[0] is self:
                    self.notification_event.wait(5)
                    raise ValueError("boom")
                super().serve()

            def notify(self, kind, notify_id):
                super().notify(kind, notify_id)
                if family.made[0] is self:
                    family.never.wait()

        self.made.append(Hangs())
        return self.made[-1]


async def waiting_runner(host):
    """A runner whose first instance hangs and whose second one waits for that."""
    family = Family()
    runner = host.run(family.construct, TIGHT)
    await runner.ready(until_s=soon())
    runner.notify("first")
    await until(runner, Phase.WAITING)
    return runner, family


async def test_no_second_instance_is_made_while_the_first_one_hangs(host):
    """Its commands are refused, with the reason."""
    runner, family = await waiting_runner(host)

    assert len(family.made) == 1
    assert len(runner.leftovers) >= 1
    with pytest.raises(ModuleFailedError, match=EARLIER_RUNS):
        await ask(runner)
    family.never.set()


async def test_a_module_starts_again_when_its_first_instance_has_ended(host):
    """And gets notifications, as if nothing had happened."""
    runner, family = await waiting_runner(host)

    family.never.set()
    await until(runner, Phase.PROBATION)
    runner.notify("second")
    await asyncio.to_thread(family.made[1].notification_event.wait, 5)

    assert ("second", "") in family.made[1].notifications
    assert await runner.stop(limit_s=5) is True
    assert runner.leftovers == ()


async def test_a_held_module_that_is_stopped_did_not_stop(host):
    """What hangs of its first instance counts."""
    runner, family = await waiting_runner(host)

    assert await runner.stop(limit_s=0.02) is False

    assert runner.phase is Phase.ABANDONED
    family.never.set()


async def test_a_module_stopped_while_its_first_instance_is_given_up_makes_no_second(host):
    """The stop comes while the restart waits for the old instance."""
    family = Family()
    runner = host.run(family.construct, Limits(stop_s=0.4, pause_s=0.001, probation_s=60))
    await runner.ready(until_s=soon())
    runner.notify("first")
    await until(runner, Phase.RESTARTING)

    assert await runner.stop(limit_s=0.6) is False

    assert len(family.made) == 1
    family.never.set()


async def test_an_instance_that_is_constructed_too_late_is_asked_to_stop(host):
    """Until then its thread is left over; what it began is ended."""
    go, module = threading.Event(), Module()

    def slow():
        go.wait()
        return module

    runner = host.run(slow, TIGHT)
    await asyncio.sleep(0)
    assert await runner.stop(limit_s=0.02) is False
    leftovers = runner.leftovers
    assert leftovers

    go.set()
    await asyncio.wait(leftovers, timeout=5)

    assert module.stop.is_set()


@pytest.mark.parametrize("stuck", ["serve", "shutdown", "command"])
async def test_an_instance_stays_on_the_books_until_its_threads_have_ended(host, stuck):
    """Whatever of it hangs. Who subscribed hears of both moments."""
    never, counts = threading.Event(), []

    class Stuck(Module):
        def serve(self):
            never.wait() if stuck == "serve" else super().serve()

        def shutdown(self):
            never.wait() if stuck == "shutdown" else None
            super().shutdown()

        def _handle_command(self, _inbuf, _arguments):
            never.wait()

    runner = host.run(Stuck)
    await runner.ready(until_s=soon())
    caller = host.group.create_task(ask(runner)) if stuck == "command" else None
    await asyncio.sleep(0)
    await runner.stop(limit_s=0.05)
    assert host.events[-1] is Event.STOP_LIMIT_PASSED
    instances, gone = AbandonedInstances(), asyncio.Event()
    instances.subscribe(lambda: counts.append(len(instances.all())))
    instances.subscribe(lambda: instances.all() or gone.set())

    instances.add("hello", ModuleRole.ACTIVE, runner.leftovers, external=True)
    assert instances.find("hello").external
    assert instances.find("hello", ModuleRole.STANDBY) is None
    assert "did not stop at 2" in str(instances.find("hello"))

    never.set()
    async with asyncio.timeout(5):
        await gone.wait()
    assert counts == [1, 0]
    if caller is not None:
        await caller


async def test_what_has_ended_meanwhile_is_not_on_the_books():
    """Nobody is told of it."""
    counts, instances = [], AbandonedInstances()
    instances.subscribe(lambda: counts.append(1))
    instances.add("hello", ModuleRole.ACTIVE, (), external=True)
    assert (instances.all(), counts) == ((), [])

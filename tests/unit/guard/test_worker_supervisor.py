"""What the guard knows of its worker."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from mgr.clock import CLOCK
from mgr.guard.worker_supervisor import Evidence, WorkerSupervisor, WorkerTimeouts
from mgr.link import ModuleReport, ModulesChanged, Ready
from tests.support.clock import ManualClock

READY = Ready(
    grpc_address="h:1",
    http_address="h:2",
    modules=(ModuleReport(name="hello", can_run=True),),
)


def supervisor():
    """A supervisor whose worker is never started, and what it passed on."""
    heard = []
    timeouts = WorkerTimeouts(watchdog_s=2, start_s=30, store_silent=lambda: False)

    def start(_incarnation, _listener):
        raise AssertionError("nobody is started here")

    return WorkerSupervisor(start, ManualClock(), timeouts, heard.append, lambda: None), heard


def test_the_module_reports_of_a_worker_are_kept_up_to_date():
    """Its addresses stay; the message is passed on, so that the presence follows."""
    made, heard = supervisor()
    made.on_message(READY)
    message = ModulesChanged(modules=(ModuleReport(name="hello", can_run=True, outdated="old"),))
    made.on_message(message)

    assert made.ready == Ready(grpc_address="h:1", http_address="h:2", modules=message.modules)
    assert heard == [READY, message]


def test_module_reports_of_a_worker_that_is_not_ready_are_ignored():
    """It will say all of it once it is."""
    made, _ = supervisor()
    made.on_message(ModulesChanged(modules=()))

    assert made.ready is None


class Undying:
    """A worker that says nothing, and whose end takes the kernel a while."""

    pid = 1
    incarnation = "x"

    def __init__(self):
        self.kills = 0

    def dump_stacks(self):
        """Nobody reads them."""

    def kill(self):
        self.kills += 1


async def test_a_silent_worker_is_killed_once_however_long_it_takes_to_die(caplog):
    """One line in the log, and a loop that does not spin until it is reaped."""
    worker = Undying()
    timeouts = WorkerTimeouts(watchdog_s=0.03, start_s=30, store_silent=lambda: False)
    made = WorkerSupervisor(lambda *_: worker, CLOCK, timeouts, lambda _: None, lambda: None)
    await made.ensure_worker()
    made.on_message(READY)

    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.2):
            await made.watch()

    assert worker.kills == 1
    assert caplog.text.count("no heartbeat from worker: killed") == 1


class Dead:
    """A worker that has ended."""

    pid = 1
    incarnation = "x"

    def evidence(self):
        """Return nothing that says why."""
        return Evidence()


@pytest.mark.parametrize("fails", [False, True])
async def test_the_end_of_a_worker_is_examined_after_the_election_was_informed(fails, caplog):
    """Whatever becomes of the examination; what it found is in the log."""
    order = []
    timeouts = WorkerTimeouts(watchdog_s=2, start_s=30, store_silent=lambda: False)
    made = WorkerSupervisor(
        lambda *_: Dead(), CLOCK, timeouts, lambda _: None, lambda: order.append("election")
    )

    def examine(how, _evidence, *, asked):
        order.append((how, asked))
        if fails:
            raise ValueError("torn")
        return {"suspect": "bad"}

    made.examine = examine
    await made.ensure_worker()
    made.on_exit("SIGSEGV")

    assert order == ["election", ("SIGSEGV", False)]
    assert caplog.records[-1].message == "worker exited"
    assert getattr(caplog.records[-1], "suspect", None) == (None if fails else "bad")

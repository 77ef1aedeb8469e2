"""Nothing that changes something is acknowledged without its record in the audit."""

from __future__ import annotations

import asyncio

import pytest

from mgr.access.caps import AccessRequest
from mgr.access.identity import Caller
from mgr.audit import refusals, trail
from mgr.audit.record import decode
from mgr.errors import (
    AuditUnavailableError,
    FencedError,
    ModuleNotReadyError,
    OutcomeUnknownError,
)
from mgr.store.api import Put
from mgr.store.memory import MemoryStore
from tests.support.clock import ManualClock
from tests.support.dispatch_fakes import ADD, bench

OPS = Caller(name="ops", address="10.0.0.7")


class Transactions(MemoryStore):
    """A store that remembers the keys of each transaction that was done."""

    def __init__(self, clock):
        super().__init__(clock)
        self.done = []

    async def commit(self, operations, **options):
        outcome = await super().commit(operations, **options)
        if outcome.succeeded:
            self.done.append([each.key for each in operations if isinstance(each, Put)])
        return outcome


class Sinks:
    """Sinks that keep what they get, unless ``error`` says why they do not."""

    def __init__(self):
        self.lines = []
        self.error = ""

    def check(self):
        if self.error:
            raise AuditUnavailableError(self.error)

    async def deliver(self, line):
        self.check()
        self.lines.append(line)

    def offer(self, line):
        self.lines.append(line)


async def test_a_command_has_one_record_with_its_author_and_outcome():
    """Who, from where, what with which arguments, how it ended, in which request."""
    async with bench() as at:
        await at.term.fenced.put(at.term.keys.access_of("ops"), "allow *")
        await at.execute(*ADD, request_id="r1", caller=OPS)
        [record] = at.records()

    assert (record.who, record.address, record.command) == ("client.ops", "10.0.0.7", "counter add")
    assert (record.arguments, record.request_id) == ({"by": "1"}, "r1")
    assert (record.outcome, record.retval, record.term) == ("ok", 0, at.term.term)


async def test_the_record_is_written_in_the_transactions_of_the_journal():
    """Before the command begins and before it is answered; it costs no round trip."""
    clock = ManualClock()
    store = Transactions(clock)
    async with bench(store=store, clock=clock) as at:
        await at.execute(*ADD, request_id="r1")
        request = at.term.keys.request("r1")
        key = at.term.keys.audited_change(at.term.term, 1)
        with_request = [keys for keys in store.done if request in keys]
        with_record = [keys for keys in store.done if key in keys]

    assert len(with_request) == 2
    assert with_record == with_request


async def test_a_read_has_no_record():
    """It changes nothing."""
    async with bench() as at:
        await at.execute("counter", "show")

        assert at.records() == []


async def test_a_command_that_answers_an_error_is_recorded_as_failed():
    """With its reason: somebody tried."""
    async with bench() as at:
        at.counter.result = (-22, "", "no such counter")
        await at.execute(*ADD, request_id="r1")
        [record] = at.records()

    assert (record.outcome, record.retval, record.detail) == ("failed", -22, "no such counter")


async def test_a_command_without_a_request_id_is_recorded_as_well():
    """Its record is written before it begins, and again before it is answered."""
    async with bench() as at:
        at.counter.pause = asyncio.Event()
        running = at.term.tasks.create_task(at.execute(*ADD))
        await at.counter.begun.wait()
        [before] = at.records()
        at.counter.pause.set()
        await running
        [after] = at.records()

    assert (before.outcome, after.outcome) == ("started", "ok")


async def test_a_command_that_was_not_run_after_all_says_so():
    """Its module refused it after it was recorded."""
    async with bench() as at:
        at.counter.failure = ModuleNotReadyError("still starting")
        at.counter.pause = None
        with pytest.raises(ModuleNotReadyError):
            await at.execute(*ADD, request_id="r1")
        [record] = at.records()

    assert (record.outcome, record.detail) == ("not_run", "still starting")


async def test_a_manager_that_lost_its_term_neither_runs_nor_records():
    """The record is fenced like everything else."""
    async with bench() as at:
        await at.term.depose()
        with pytest.raises(FencedError):
            await at.execute(*ADD)

        assert at.counter.calls == 0
        assert at.records() == []


async def test_nothing_begins_while_a_required_sink_keeps_no_records():
    """With and without a request id; reads go on."""
    sinks = Sinks()
    async with bench(sinks=sinks) as at:
        sinks.error = "audit sink 'file' does not keep records"
        for fields in ({"request_id": "r1"}, {}):
            with pytest.raises(AuditUnavailableError):
                await at.execute(*ADD, **fields)
        assert at.counter.calls == 0
        assert (await at.execute("counter", "show")).retval == 0

        sinks.error = ""
        assert (await at.execute(*ADD, request_id="r1")).retval == 0
        assert decode(sinks.lines[0]).outcome == "ok"


async def test_a_command_that_ran_is_not_acknowledged_before_the_sink_has_it():
    """The retry is, once the sink keeps records again, and with a record of its own."""
    sinks = Sinks()
    async with bench(sinks=sinks) as at:
        at.counter.pause = asyncio.Event()
        running = at.term.tasks.create_task(outcome_of(at.execute(*ADD, request_id="r1")))
        await at.counter.begun.wait()
        sinks.error = "audit sink 'file' does not keep records"
        at.counter.pause.set()
        assert isinstance(await running, OutcomeUnknownError)
        with pytest.raises(OutcomeUnknownError):
            await at.execute(*ADD, request_id="r1")

        sinks.error = ""
        answer = await at.execute(*ADD, request_id="r1")

        assert (answer.retval, at.counter.calls) == (0, 1)
        assert [decode(line).outcome for line in sinks.lines] == ["ok"]


async def test_refusals_of_one_caller_are_one_record():
    """Whatever it asks for and however often, so that it cannot displace other records."""
    async with bench() as at:
        for number in range(1000):
            at.audit.refused(OPS, AccessRequest(f"c {number}", "rw", arguments={"n": number}))
            if number % 300 == 0:
                await at.audit.flush()
        await at.audit.flush()
        [record] = at.records()

    assert (record.outcome, record.who, record.count) == ("refused", "client.ops", 1000)
    assert (record.command, record.arguments) == ("c 0", {"n": "0"})
    assert len(record.commands) <= refusals.COMMANDS_MAX + 1
    assert sum(record.commands.values()) == 1000


async def test_refusals_displace_no_changes():
    """Each has its own ring."""
    async with bench() as at:
        at.audit._limits = lambda: trail.AuditLimits(5, 1 << 20, refusals=5)
        await at.execute(*ADD, request_id="r1")
        for number in range(100):
            caller = Caller(name=f"eve{number}", address="10.6.6.6")
            at.audit.refused(caller, AccessRequest("config set", "rw"))
        for _ in range(10):
            await at.audit.flush()
        found = at.records()

    assert [each.command for each in found if each.outcome == "ok"] == ["counter add"]
    assert sum(each.outcome == "refused" for each in found) == 5


async def test_the_ring_of_changes_is_bounded_and_keeps_the_newest():
    """In number, here."""
    async with bench() as at:
        at.audit._limits = lambda: trail.AuditLimits(10, 1 << 20)
        for number in range(30):
            await at.execute(*ADD, request_id=f"r{number}")
        await at.audit.flush()
        found = at.records()

    assert [each.request_id for each in found] == [f"r{number}" for number in range(20, 30)]


async def test_records_of_a_term_survive_it_in_order():
    """The next active goes on after them, whatever its clock says."""
    async with bench() as at:
        await at.execute(*ADD, request_id="r1")
        await at.execute(*ADD, request_id="r2")
        after = type(at)(await at.term.succeed())
        await after.execute(*ADD, request_id="r3")
        found = after.records()

    assert [each.request_id for each in found] == ["r1", "r2", "r3"]
    assert [each.term for each in found] == sorted(each.term for each in found)


async def outcome_of(work):
    try:
        return await work
    except Exception as error:  # noqa: BLE001 - the test looks at it
        return error

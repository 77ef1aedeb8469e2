"""What a guard stores of a worker that died, and when a module is quarantined."""

from __future__ import annotations

import asyncio
import json

import pytest

from mgr.config.worker_deaths import (
    CRASHES_MAX,
    DEATHS_WITHIN_S,
    REPORT_BYTES_MAX,
    quarantine_reason,
    release_operations,
)
from mgr.errors import StoreUnavailableError
from mgr.guard.attribution import OUT_OF_MEMORY, Suspect
from mgr.guard.identity import ProcessIdentity
from mgr.guard.post_mortem import PostMortem, WorkerDeath
from mgr.guard.state import GuardContext
from mgr.guard.worker_supervisor import Evidence
from mgr.settings import Settings
from mgr.store.keys import Keys
from mgr.store.memory import MemoryStore
from mgr.worker_trace import OWN_EXIT
from tests.support.clock import ManualClock

KEYS = Keys("mgr")
SUSPECT = Suspect("bad", "in serve()", ('  File "/m/bad/module.py", line 3, in serve',))
DEATH = WorkerDeath("SIGSEGV", SUSPECT)


class Silent(MemoryStore):
    """A store that can be made to fail."""

    silent = False

    async def commit(self, *arguments, **more):
        if self.silent:
            raise StoreUnavailableError("silent")
        return await super().commit(*arguments, **more)


class Seen:
    """What stands in a store, as a mirror would show it."""

    def __init__(self, records):
        self._records = {record.key: record for record in records}

    def get(self, key):
        return self._records.get(key)

    def list(self, prefix):
        return {key: each for key, each in self._records.items() if key.startswith(prefix)}


class Case:
    """A store, and guards that write to it."""

    def __init__(self):
        self.clock = ManualClock()
        self.store = Silent(self.clock)

    def guard(self, name):
        identity = ProcessIdentity(
            host="h1",
            boot_id="b",
            pid_namespace="n",
            pid=1,
            pid_started=1,
            started_at="s",
            version="1.2.3",
            machine={"distro": "debian"},
        )
        return PostMortem(GuardContext(Settings(id=name), self.store, self.clock, identity))

    async def seen(self):
        return Seen((await self.store.list(KEYS.root)).records)

    async def why(self, module="bad"):
        return quarantine_reason(await self.seen(), KEYS, module)

    async def die(self, name, times=1, death=DEATH):
        """Workers of manager ``name`` die; returns when that is stored."""
        guard = self.guard(name)
        for _ in range(times):
            guard.on_end(death)
        await self.stored(guard)
        return guard

    async def stored(self, guard):
        async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
            running = tasks.create_task(guard.run())
            while guard._waiting:  # noqa: ASYNC110 - there is no event
                await asyncio.sleep(0.001)
            running.cancel()


@pytest.fixture
def case():
    return Case()


async def test_the_deaths_of_all_managers_are_summed_up(case):
    """Three are enough, wherever they were; the last is named, and how to release."""
    await case.die("a", 2)
    assert await case.why() == ""

    await case.die("b")

    why = await case.why()
    assert "killed 3 workers by SIGSEGV in serve() (last: manager b, " in why
    assert "mgrctl mgr module release bad" in why
    assert await case.why("good") == ""


async def test_a_death_is_forgotten_after_a_while_and_a_quarantine_is_not(case):
    """The third comes too late to count; three in time hold the module back for good."""
    await case.die("a", 2)
    case.clock.advance(DEATHS_WITHIN_S + 1)
    await case.die("a", 2)
    assert await case.why() == ""

    await case.die("a")
    case.clock.advance(10 * DEATHS_WITHIN_S)

    assert "killed 3 workers" in await case.why()


async def test_a_released_module_has_all_its_lives_again(case):
    """What it did is forgotten with the quarantine."""
    await case.die("a", 3)
    await case.store.commit(release_operations(KEYS, "bad"))
    assert await case.why() == ""

    await case.die("a", 2)

    assert await case.why() == ""


async def test_the_release_of_the_leader_key_carries_the_death_along(case):
    """So that the successor, which waits for that revision, knows of it: no fourth worker."""
    await case.die("a", 2)
    guard = case.guard("b")
    guard.on_end(DEATH)

    await case.store.commit(guard.operations())

    assert "killed 3 workers" in await case.why()
    await case.stored(guard)
    assert "killed 3 workers" in await case.why()


async def test_a_worker_that_ended_as_asked_carries_nothing(case):
    """Neither does it become a report; nor one that decided to exit, nor one past its deadline."""
    guard = case.guard("a")
    guard.on_end(DEATH)

    for how, evidence, asked in (
        ("SIGKILL", Evidence(), True),
        ("exit status 1", Evidence(trace=OWN_EXIT), False),
        ("its deadline passed", Evidence(), False),
    ):
        assert guard.examine(how, evidence, asked=asked) == {}
        assert guard.operations() == ()
        assert len(guard._waiting) == 1


async def test_what_the_store_does_not_take_is_kept_and_passed_to_the_next_worker(case):
    """The guard's own count holds the module back until the store has it."""
    case.store.silent = True
    guard = case.guard("a")
    for _ in range(2):
        guard.on_end(DEATH)
    assert guard.unstored_quarantines() == {}

    guard.on_end(DEATH)

    assert list(guard.unstored_quarantines()) == ["bad"]
    async with asyncio.TaskGroup() as tasks:
        stored = tasks.create_task(case.stored(guard))
        await asyncio.sleep(0)
        case.store.silent = False
        await stored
    assert guard.unstored_quarantines() == {}
    assert "killed 3 workers" in await case.why()


async def test_a_report_has_cephs_shape_and_names_signal_module_and_stack(case):
    """As ``crash post`` takes it."""
    await case.die("a")

    [record] = (await case.store.list(KEYS.crashes_of("a"))).records
    report = json.loads(record.value)
    assert record.key == KEYS.crashes_of("a") + report["crash_id"]
    assert report["entity_name"] == "mgr.a"
    assert report["ceph_version"] == "1.2.3"
    assert report["utsname_hostname"] == "h1"
    assert (report["mgr_signal"], report["mgr_module"]) == ("SIGSEGV", "bad")
    assert report["backtrace"] == list(SUSPECT.stack)


async def test_a_death_of_nobodys_is_reported_without_a_module(case):
    """Memory ran out while modules served."""
    guard = case.guard("a")
    assert guard.examine("SIGKILL", Evidence(out_of_memory=True), asked=False) == {}
    assert guard.operations() == ()
    await case.stored(guard)

    [record] = (await case.store.list(KEYS.worker_crashes)).records
    report = json.loads(record.value)
    assert report["mgr_signal"] == OUT_OF_MEMORY
    assert "mgr_module" not in report
    assert (await case.seen()).list(KEYS.module_deaths) == {}


async def test_reports_are_bounded_in_number_and_size(case):
    """The oldest give way, and of a long stack the outer frames."""
    deep = Suspect("bad", "in serve()", tuple(f"frame {n} \u00e9" * 50 for n in range(1000)))
    await case.die("a", CRASHES_MAX, WorkerDeath("SIGSEGV", deep))
    await case.die("a", 3, WorkerDeath("SIGSEGV", deep))

    records = (await case.store.list(KEYS.worker_crashes)).records
    assert len(records) == CRASHES_MAX
    for record in records:
        assert len(record.value.encode()) <= REPORT_BYTES_MAX
        assert json.loads(record.value)["backtrace"][-1].startswith("frame 999")

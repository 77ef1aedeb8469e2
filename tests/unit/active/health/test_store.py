"""Health across a failover: what the old active showed, the new one shows."""

import asyncio

import pytest

from mgr.active.health import store
from mgr.active.health.mutes import MuteStore
from mgr.active.health.store import HealthStore
from mgr.health.board import MANAGER_SOURCE, Board
from mgr.health.check import Check, Severity
from mgr.health.mute import Mute
from mgr.health.mute import encode as encode_mute
from mgr.health.raised_record import decode, encode
from mgr.module_api.module import MgrModule
from tests.support.late_store import LateStore, Way
from tests.support.leading import leading
from tests.unit.active.conftest import discovered_module

DISK = Check(code="DISK", severity=Severity.WARN, summary="disk is old", count=1)
FAN = Check(code="FAN", severity=Severity.ERR, summary="fan stands still", count=1)


class Active:
    """One term's board and its keeper, which runs in ``tasks``."""

    def __init__(self, term, tasks, modules=("one", "two")):
        self.board = Board()
        self.health_store = HealthStore(self.board, term.mirror, term.keys, term.fenced)
        self.health_store.restore(modules)
        self.shown = [set(self.board.checks)]
        self.board.on_change(lambda: self.shown.append(set(self.board.checks)))
        self.running = tasks.create_task(self.health_store.run())


def stored(term):
    record = term.mirror.get(term.keys.health)
    return decode(record.value) if record else None


async def until(state):
    async with asyncio.timeout(5):
        while not state():  # noqa: ASYNC110 - the store is asked
            await asyncio.sleep(0)


async def test_a_check_does_not_flap_when_another_manager_takes_over():
    """Shown from the first moment, until its module has looked for itself."""
    async with leading() as term:
        old = Active(term, term.tasks)
        old.board.set("one", [DISK])
        old.board.set(MANAGER_SOURCE, [FAN])
        await until(lambda: stored(term) == {"one": (DISK,)})

        new = Active(await term.succeed(), term.tasks)
        assert new.board.checks == {"DISK": DISK}
        new.board.set("two", [FAN])
        new.board.set("one", [DISK])

    assert all("DISK" in shown for shown in new.shown)


async def test_a_second_failover_hands_on_what_the_first_one_inherited():
    """Whether or not the module spoke in between."""
    async with leading() as term:
        await term.fenced.put(term.keys.health, encode({"one": (DISK,)}))
        later = await term.succeed()
        Active(later, term.tasks)
        second = Active(await later.succeed(), term.tasks)

        assert second.board.checks == {"DISK": DISK}


async def test_modules_that_run_no_more_leave_nothing():
    """Their checks are neither shown nor kept."""
    async with leading() as term:
        await term.fenced.put(term.keys.health, encode({"one": (DISK,), "gone": (FAN,)}))
        later = await term.succeed()
        active = Active(later, term.tasks)
        await until(lambda: stored(later) == {"one": (DISK,)})

        assert active.board.checks == {"DISK": DISK}


async def test_what_nobody_raises_again_ends_after_a_grace(monkeypatch):
    """A module that no longer knows the check cannot take it back."""
    monkeypatch.setattr(store, "GRACE_S", 0)
    async with leading() as term:
        await term.fenced.put(term.keys.health, encode({"one": (DISK,)}))
        active = Active(await term.succeed(), term.tasks)
        await active.health_store.expire_restored()

        assert active.board.checks == {}


async def test_the_last_change_is_stored_before_a_hand_over_and_nothing_after_it():
    """Modules that stop may take their checks back: the cluster is no healthier for it."""
    async with leading() as term:
        active = Active(term, term.tasks)
        await until(lambda: stored(term) == {})
        active.board.set("one", [DISK])  # within the pause after the first write
        await active.health_store.close()
        active.board.set("one", [])
        await active.health_store.close()

        assert stored(term) == {"one": (DISK,)}


async def test_a_module_that_flickers_costs_few_writes(monkeypatch):
    """The last state is what is stored."""
    monkeypatch.setattr(store, "WRITE_EVERY_S", 0.01)
    async with leading() as term:
        active = Active(term, term.tasks)
        before = (await term.store.status()).revision
        for number in range(50):
            active.board.set("one", [DISK] if number % 2 else [])
        await until(lambda: stored(term) == {"one": (DISK,)})

        assert (await term.store.status()).revision <= before + 2


async def test_a_deposed_manager_stores_nothing():
    """The record is the successor's."""
    async with leading() as term:
        active = Active(term, term.tasks)
        await until(lambda: stored(term) == {})
        await term.depose()
        active.board.set("one", [DISK])
        await active.health_store.close()

        assert decode((await term.store.get(term.keys.health)).value) == {}


async def test_a_state_that_came_back_is_not_replaced_by_a_late_write(monkeypatch):
    """What was raised in between was sent, and not answered."""
    monkeypatch.setattr(store, "WRITE_EVERY_S", 0)
    monkeypatch.setattr("mgr.store.fenced.TIMEOUT_S", 0.01)
    async with leading() as term:
        active = Active(term, term.tasks)
        await until(lambda: stored(term) == {})
        late = LateStore(term.store, [Way.HELD, *[Way.LOST_BEFORE] * 9])
        term.fenced._store = late
        active.board.set("one", [DISK])
        await until(lambda: late.held)
        active.board.set("one", [])
        await until(lambda: term.fenced._turns._unsettled)
        late.ways = []
        await active.health_store.close()
        await late.arrive()

        assert decode((await term.store.get(term.keys.health)).value) == {}


async def test_a_mute_holds_on_to_an_inherited_check():
    """It falls when its module says that all is well, as it would have without the failover."""
    async with leading() as term:
        await term.fenced.put(term.keys.health, encode({"one": (DISK,)}))
        mute = Mute(summary=DISK.summary, count=DISK.count)
        await term.fenced.put(term.keys.mute("DISK"), encode_mute(mute))
        later = await term.succeed()
        active = Active(later, term.tasks)
        MuteStore(active.board, later.mirror, later.keys, later.fenced)
        muted = [str(active.board.status()), list(active.board.mutes)]
        active.board.set("one", [])

        assert muted == ["HEALTH_OK", ["DISK"]]
        assert not active.board.mutes


# -- in the whole active ---------------------------------------------------------------------


def quiet(name):
    """A module that raises nothing by itself."""
    return discovered_module(name, type(name.title(), (MgrModule,), {"__module__": f"made_{name}"}))


async def test_the_active_shows_and_stores_what_modules_raise(active):
    """From the store to the board when it begins, from the board to the store when it ends."""
    record = {"health": encode({"one": (DISK,), "off": (FAN,)})}
    async with active(quiet("one"), enabled=["one"], stored=record) as cluster:
        assert "disk is old" in (await cluster.ask("health")).stdout
        instance = cluster.role._modules.instance_of("one")

        def raise_check():
            instance.set_health_checks({"HOT": {"severity": "warning", "summary": "hot"}})

        await asyncio.to_thread(raise_check)
        await cluster.role.drain(1)
        kept = decode(cluster.mirror.get(cluster.keys.health).value)

    assert [check.code for check in kept["one"]] == ["HOT"]


async def test_a_stored_option_that_does_not_fit_is_named(active):
    """By section, name and value; it is gone with its cause."""
    body = {"MODULE_OPTIONS": [{"name": "times", "type": "int", "min": 1}], "__module__": "m"}
    one = discovered_module("one", type("One", (MgrModule,), body))
    async with active(one, enabled=["one"]) as cluster:
        key = cluster.keys.option("mgr", "mgr/one/times")
        await cluster.put(key, "many")
        shown = (await cluster.health())["MGR_OPTION_ERROR"]
        await cluster.put(key, "3")
        after = await cluster.health()

    assert shown["detail"] == [
        {
            "message": "mgr mgr/one/times = 'many': error parsing value: "
            "Expected option value to be integer, got 'many'"
        }
    ]
    assert "MGR_OPTION_ERROR" not in after


async def test_a_silent_store_is_shown_and_forgotten(active, monkeypatch):
    """Modules that read health learn that what they read may be old."""
    monkeypatch.setattr("mgr.active.health.checks.STORE_CHECK_EVERY_S", 0.001)
    async with active(quiet("one"), enabled=["one"]) as cluster:
        codes = cluster.role._board
        with monkeypatch.context() as cut:
            cut.setattr(cluster.mirror, "age_s", lambda: 60.0)
            await cluster.until(lambda: "MGR_STORE_SILENT" in codes.checks)
        await cluster.until(lambda: "MGR_STORE_SILENT" not in codes.checks)


@pytest.mark.parametrize(
    "described",
    [
        {"summary": "no file \udcff"},
        {"summary": "fine", "detail": ["\udcff"]},
        {"summary": "x" * 2_000_000},
    ],
)
async def test_no_health_check_of_a_module_does_harm(described):
    """A text that cannot be stored would otherwise end the worker, on one manager after another."""
    async with leading() as term:
        old = Active(term, term.tasks)
        old.board.set("one", [Check.from_module("ODD", described)])
        await old.health_store.close()

        assert not old.running.done()


def test_a_check_that_counts_with_true_can_be_read_back():
    """To Python it is a 1."""
    check = Check.from_module("ODD", {"summary": "odd", "count": True})

    assert decode(encode({"one": (check,)})) == {"one": (check,)}

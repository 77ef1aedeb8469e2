"""Commands that find nothing to do: the write that would change that may still be on its way."""

import contextlib

import pytest

from mgr.errors import OutcomeUnknownError
from tests.support.builtin_commands import builtin_commands
from tests.support.late_store import LateStore, Way


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (("config-key", "rm", "k"), "kv/k"),
        (("health", "unmute", "K"), "mutes/K"),
        (("health", "unmute"), "mutes/K"),
        (("auth", "rm", "k"), "access/k"),
    ],
)
async def test_a_removal_holds_against_a_put_that_arrives_after_it(words, key):
    """Nobody knows of the key when it is removed; the put of it arrives afterwards."""
    async with builtin_commands() as at:
        key = at.leading_term.keys.root + key
        late = LateStore(at.leading_term.store, [Way.HELD, Way.LOST_BEFORE, Way.LOST_BEFORE])
        at.leading_term.fenced._store = late
        with pytest.raises(OutcomeUnknownError):
            await at.leading_term.fenced.put(key, "x", timeout_s=0.01)
        late.ways = []

        await at.run(*words)
        while late.held:
            await late.arrive()

        assert await at.leading_term.store.get(key) is None


GIVEN_UP_S = 0.01
PLACE = ("config", "set", "mgr", "mgr/hello/place", "Rome")
NO_PLACE = ("config", "rm", "mgr", "mgr/hello/place")
CONF = "[mgr]\nmgr/hello/place = Rome\n"
NO_MAP = ("map", "rm", "m", "--expected-version", "0")
ENABLE, DISABLE = ("mgr", "module", "enable"), ("mgr", "module", "disable")
FORCED = ("mgr", "module", "force", "disable", "devicehealth", "--yes-i-really-mean-it")

CASES = {
    "config set": ([PLACE], NO_PLACE, PLACE, ""),
    "config assimilate-conf": ([PLACE], NO_PLACE, ("config", "assimilate-conf"), CONF),
    "config reset": ([PLACE], NO_PLACE, ("config", "reset", "1"), ""),
    "map set": ([("map", "set", "m")], ("map", "rm", "m"), ("map", "set", "m"), '{"a": 1}'),
    "map rm": ([], ("map", "set", "m"), NO_MAP, "{}"),
    "health unmute": ([], ("health", "mute", "K", "--sticky"), ("health", "unmute"), ""),
    "enable": ([(*ENABLE, "hello")], (*DISABLE, "hello"), (*ENABLE, "hello"), ""),
    "enable always-on": (
        [FORCED, (*ENABLE, "devicehealth")],
        FORCED,
        (*ENABLE, "devicehealth"),
        "",
    ),
    "disable": (
        [(*ENABLE, "hello"), (*DISABLE, "hello")],
        (*ENABLE, "hello"),
        (*DISABLE, "hello"),
        "",
    ),
    "force disable": ([FORCED], (*ENABLE, "devicehealth"), FORCED, ""),
}
"""What is run before, what is then held up, and the command that wants it as it was."""


@contextlib.asynccontextmanager
async def held_up(case, monkeypatch):
    """A desk whose caller gave up a write that may still arrive, and what stood there before."""
    before, other, _, inbuf = CASES[case]
    async with builtin_commands() as at:
        for each in before:
            await at.run(*each, inbuf=inbuf)
        stood = await stored(at)
        late = LateStore(at.leading_term.store, [Way.HELD, *[Way.LOST_BEFORE] * 9])
        at.leading_term.fenced._store = late
        with monkeypatch.context() as hasty:
            hasty.setattr("mgr.store.fenced.TIMEOUT_S", GIVEN_UP_S)
            hasty.setattr("mgr.config.history.TIMEOUT_S", GIVEN_UP_S)
            with pytest.raises(OutcomeUnknownError):
                await at.run(*other, inbuf=inbuf)
        late.ways = []
        yield at, late, stood


@pytest.mark.parametrize("case", CASES)
async def test_what_stands_as_wanted_stays_so_once_it_is_acknowledged(case, monkeypatch):
    """An earlier write that wants something else arrives afterwards."""
    _, _, words, inbuf = CASES[case]
    async with held_up(case, monkeypatch) as (at, late, stood):
        answer = await at.run(*words, inbuf=inbuf)
        while late.held:
            await late.arrive()

        assert answer.retval == 0
        assert await stored(at) == stood


@pytest.mark.parametrize("case", sorted(CASES.keys() - {"map rm"}))
async def test_what_stands_otherwise_by_now_is_written(case, monkeypatch):
    """The earlier write arrives just before it is made impossible; the mirror lags behind."""
    _, _, words, inbuf = CASES[case]
    async with held_up(case, monkeypatch) as (at, late, stood):
        late.arrivals = {late.sent: 1}
        answer = await at.run(*words, inbuf=inbuf)

        assert not late.held
        assert answer.retval == 0
        assert await stored(at) == stood


async def test_a_map_that_came_meanwhile_is_not_said_to_be_gone(monkeypatch):
    """Nobody expected it to be there."""
    _, _, words, _ = CASES["map rm"]
    async with held_up("map rm", monkeypatch) as (at, late, _):
        late.arrivals = {late.sent: 1}
        answer = await at.run(*words)

        assert answer.retval != 0
        assert "is at version" in answer.stderr


# Without a code, unmute removes what is there in one transaction, whether or not that is something.
@pytest.mark.parametrize("case", sorted(CASES.keys() - {"health unmute"}))
async def test_nothing_is_sent_where_nothing_is_on_its_way(case):
    """What stands there already is neither written again nor read."""
    before, _, words, inbuf = CASES[case]
    async with builtin_commands() as at:
        for each in before:
            await at.run(*each, inbuf=inbuf)
        at.leading_term.fenced._store = None

        assert (await at.run(*words, inbuf=inbuf)).retval == 0


async def stored(at):
    """What the store holds, but for what every write may change."""
    keys = at.leading_term.keys
    records = (await at.leading_term.store.list(keys.root)).records
    passing = (keys.order, keys.changes)
    return {each.key: each.value for each in records if not each.key.startswith(passing)}


async def test_every_mute_goes_in_one_transaction():
    """One by one, a store that falls silent in between would leave some of them standing."""
    async with builtin_commands() as at:
        for code in ("A", "B", "C"):
            await at.run("health", "mute", code, "--sticky")
        late = at.leading_term.fenced._store = LateStore(at.leading_term.store)

        await at.run("health", "unmute")

        assert late.sent == 1
        assert not at.board.mutes
        assert not (await at.leading_term.store.list(at.leading_term.keys.mutes)).records

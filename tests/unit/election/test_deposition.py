"""When a silence is long enough, and that only what was seen can be deposed."""

from __future__ import annotations

import pytest

from mgr.election.deposition import RATE_LIMIT_S, Deposition, Signs, Silence, pulse_window_s
from mgr.election.leader_key import Office
from mgr.election.records import Fence, Leader, decode, encode
from mgr.store.api import Delete, Put
from mgr.store.keys import Keys
from mgr.store.memory import MemoryStore
from tests.support.clock import ManualClock

KEYS = Keys("c")
WINDOW_S = 0.5
LIMIT_S = WINDOW_S * 1.01
ASK = {"timeout_s": 1.0}
SIGNS = Signs(7, 7, 8)


def heard(*moments_s, signs=SIGNS, window_s=WINDOW_S):
    """A silence that was listened to at these moments; it begins at 0."""
    silence = Silence(signs, window_s, 0.0)
    for moment_s in moments_s:
        silence.answered(signs, window_s, moment_s)
    return silence


def every(pause_s, until_s):
    """Moments ``pause_s`` apart, up to ``until_s``."""
    return [pause_s * number for number in range(1, round(until_s / pause_s) + 1)]


def test_a_silence_that_was_listened_to_all_the_time_is_over_after_the_window():
    """And not before."""
    assert not heard(*every(0.05, 0.5)).is_over()
    assert heard(*every(0.05, 0.55)).is_over()


@pytest.mark.parametrize("sign", [SIGNS._replace(pulse=9), SIGNS._replace(leader=9)])
def test_every_sign_of_life_begins_it_anew(sign):
    """A pulse, or a leader that wrote its record anew."""
    silence = heard(*every(0.05, 0.45))
    silence.answered(sign, WINDOW_S, 0.5)
    silence.answered(sign, WINDOW_S, 0.55)

    assert silence.lasted_s() == pytest.approx(0.05)


def test_a_gap_of_its_own_begins_it_anew():
    """Who heard nothing for a tenth of a second does not know whether there was something."""
    silence = heard(*every(0.05, 0.45), 0.56)

    assert silence.lasted_s() == 0
    assert not silence.is_over()


def test_time_after_the_last_answer_does_not_count():
    """It may be that the store is away for everybody."""
    silence = heard(*every(0.05, 0.5))

    assert silence.pause_s(10.0) < 0.01
    assert silence.lasted_s() == pytest.approx(0.5)


def test_a_longer_window_allows_longer_gaps():
    """The fifth part of it."""
    assert heard(0.29, window_s=1.5).lasted_s() == pytest.approx(0.29)
    assert heard(0.31, window_s=1.5).lasted_s() == 0


def test_it_looks_twice_in_a_gap_and_when_the_moment_has_come():
    """Waiting for a round would add to every failover."""
    silence = heard(*every(0.05, 0.4))

    assert silence.pause_s(0.4) == pytest.approx(0.05)
    assert silence.pause_s(0.49) == pytest.approx(LIMIT_S - 0.49 + 0.001)


class Scene:
    """A leader ``a`` that has signed and beaten, seen by a standby ``b``."""

    def __init__(self):
        self.clock = ManualClock()
        self.store = MemoryStore(self.clock)
        self.deposition = Deposition(self.store, KEYS, "b")

    async def lead(self, window_s=WINDOW_S):
        """``a`` takes the office."""
        lease = (await self.store.grant(5)).lease
        leader = Leader(
            name="a",
            incarnation="",
            grpc_address="",
            http_address="",
            version="",
            since="",
            lease_ttl_s=5,
            pulse_window_s=window_s,
        )
        term = await self.store.create(KEYS.leader, encode(leader), lease=lease)
        self.office = Office(self.store, KEYS, "a", term, release="1.0")
        return term

    async def silence(self, lasting_s=LIMIT_S + 0.01):
        """What the standby has heard: what stands there now, for ``lasting_s``."""
        leader = await self.store.get(KEYS.leader)
        signs = await self.deposition.signs(leader, **ASK)
        return heard(*every(0.05, lasting_s), lasting_s, signs=signs)

    async def fence(self):
        """The record as it stands."""
        return decode((await self.store.get(KEYS.fence)).value, Fence)


@pytest.fixture
def scene():
    return Scene()


async def test_a_silent_leader_is_deposed_in_one_transaction(scene):
    """Its key is gone, and the record says how it ended."""
    term = await scene.lead()
    await scene.office.sign(LIMIT_S, **ASK)
    await scene.office.beat(**ASK)

    ended = await scene.deposition.depose(await scene.silence(), **ASK)

    assert await scene.store.get(KEYS.leader) is None
    assert ended == (await scene.store.get(KEYS.fence)).mod_revision
    assert await scene.fence() == Fence(
        term=term, name="a", reason="deposed", quiesced=False, window_s=0
    )


async def test_a_leader_that_never_gave_a_pulse_is_deposed_as_well(scene):
    """Making the key was its first one; it had not signed, so nothing ran in its name."""
    await scene.lead()

    assert await scene.deposition.depose(await scene.silence(), **ASK) is not None


@pytest.mark.parametrize("sign", ["pulse", "window", "signature", "end"])
async def test_a_leader_that_moved_since_it_was_seen_is_not_deposed(scene, sign):
    """Between the decision and the deed, or while the deed was on its way."""
    await scene.lead()
    await scene.office.beat(**ASK)
    silence = await scene.silence()
    grant = scene.store.grant

    async def move(*args, **kwargs):
        match sign:
            case "pulse":
                await scene.office.beat(**ASK)
            case "window":
                await scene.office.sign(LIMIT_S, **ASK)
                assert await scene.office.adapt(1.0, 1.01, **ASK)
            case "signature":
                await scene.office.sign(LIMIT_S, **ASK)
            case "end":
                await scene.store.commit([Delete(KEYS.leader)])
        return await grant(*args, **kwargs)

    scene.store.grant = move

    assert await scene.deposition.depose(silence, **ASK) is None
    assert await scene.store.get(KEYS.deposed) is None


async def test_what_the_deposed_had_to_wait_for_is_handed_on(scene):
    """Less the silence: its own predecessor may act longer than it did."""
    await scene.lead()
    await scene.store.commit(
        [Put(KEYS.fence, encode(Fence(term=1, name="z", reason="leading", quiesced=False,
                                      window_s=5.05)))]
    )  # fmt: skip
    assert await scene.office.sign(LIMIT_S, **ASK) == 5.05

    silence = await scene.silence(0.6)
    await scene.deposition.depose(silence, **ASK)

    assert (await scene.fence()).window_s == pytest.approx(5.05 - 0.6)


async def test_there_is_one_deposition_in_ten_seconds(scene):
    """Whoever would do the second leaves it to the lease."""
    await scene.lead()
    await scene.deposition.depose(await scene.silence(), **ASK)
    await scene.lead()

    assert await scene.deposition.depose(await scene.silence(), **ASK) is None

    scene.clock.advance(RATE_LIMIT_S)
    await scene.lead()
    assert await scene.deposition.depose(await scene.silence(), **ASK) is not None


async def test_a_window_once_written_cannot_be_replaced_by_an_older_writing(scene):
    """One that was held up on its way finds the record changed."""
    await scene.lead()
    await scene.office.sign(LIMIT_S, **ASK)
    commit = scene.store.commit
    late = []

    async def hold_up(*args, **kwargs):
        late.append((args, kwargs))
        scene.store.commit = commit
        return await scene.store.commit((), when=kwargs["when"])

    scene.store.commit = hold_up
    await scene.office.adapt(0.6, 0.61, **ASK)
    assert await scene.office.adapt(2.0, 2.02, **ASK)

    [(args, kwargs)] = late
    assert not (await commit(*args, **kwargs)).succeeded
    assert pulse_window_s(await scene.store.get(KEYS.leader)) == 2.0
    assert (await scene.fence()).window_s == 2.02


async def test_a_record_of_a_release_without_a_pulse_tells_no_window(scene):
    """Such a leader has its lease and nothing else: it is not deposed."""
    await scene.lead()
    record = await scene.store.get(KEYS.leader)
    old = record.value.replace(f',"pulse_window_s":{WINDOW_S}', "")
    await scene.store.commit([Put(KEYS.leader, old)])

    assert "pulse" not in old
    assert pulse_window_s(await scene.store.get(KEYS.leader)) == 0

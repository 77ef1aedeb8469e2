"""When a silence is long enough, and that only what was seen can be deposed."""

from __future__ import annotations

import msgspec
import pytest

from mgr.election.deposition import (
    RATE_LIMIT_S,
    Deposition,
    LeaderSnapshot,
    SilenceDetector,
    heartbeat_timeout_s,
)
from mgr.election.leader_key import LeaderKey
from mgr.election.records import Leader, TermRecord, decode, encode
from mgr.store.api import Delete, Put
from mgr.store.keys import Keys
from mgr.store.memory import MemoryStore
from tests.support.clock import ManualClock

KEYS = Keys("c")
WINDOW_S = 0.5
LIMIT_S = WINDOW_S * 1.01
ASK = {"timeout_s": 1.0}
SNAPSHOT = LeaderSnapshot(7, 7, 8)


def detector_after(*moments_s, snapshot=SNAPSHOT, window_s=WINDOW_S):
    """A silence that was listened to at these moments; it begins at 0."""
    silence = SilenceDetector(snapshot, window_s, 0.0)
    for moment_s in moments_s:
        silence.on_answer(snapshot, window_s, moment_s)
    return silence


def every(pause_s, until_s):
    """Moments ``pause_s`` apart, up to ``until_s``."""
    return [pause_s * number for number in range(1, round(until_s / pause_s) + 1)]


def test_a_silence_that_was_listened_to_all_the_time_is_over_after_the_window():
    """And not before."""
    assert not detector_after(*every(0.05, 0.5)).may_depose()
    assert detector_after(*every(0.05, 0.55)).may_depose()


@pytest.mark.parametrize("sign", [SNAPSHOT._replace(heartbeat=9), SNAPSHOT._replace(leader=9)])
def test_every_sign_of_life_begins_it_anew(sign):
    """A heartbeat, or a leader that wrote its record again."""
    silence = detector_after(*every(0.05, 0.45))
    silence.on_answer(sign, WINDOW_S, 0.5)
    silence.on_answer(sign, WINDOW_S, 0.55)

    assert silence.silent_s() == pytest.approx(0.05)


def test_a_gap_of_its_own_begins_it_anew():
    """Who heard nothing for a tenth of a second does not know whether there was something."""
    silence = detector_after(*every(0.05, 0.45), 0.56)

    assert silence.silent_s() == 0
    assert not silence.may_depose()


def test_time_after_the_last_answer_does_not_count():
    """It may be that the store is away for everybody."""
    silence = detector_after(*every(0.05, 0.5))

    assert silence.pause_s(10.0) < 0.01
    assert silence.silent_s() == pytest.approx(0.5)


def test_a_longer_window_allows_longer_gaps():
    """The fifth part of it."""
    assert detector_after(0.29, window_s=1.5).silent_s() == pytest.approx(0.29)
    assert detector_after(0.31, window_s=1.5).silent_s() == 0


def test_it_looks_twice_in_a_gap_and_when_the_moment_has_come():
    """Waiting for a round would add to every failover."""
    silence = detector_after(*every(0.05, 0.4))

    assert silence.pause_s(0.4) == pytest.approx(0.05)
    assert silence.pause_s(0.49) == pytest.approx(LIMIT_S - 0.49 + 0.001)


class Scene:
    """A leader ``a`` that has signed and beaten, seen by a standby ``b``."""

    def __init__(self):
        self.clock = ManualClock()
        self.store = MemoryStore(self.clock)
        self.deposition = Deposition(self.store, KEYS, "b")

    async def lead(self, window_s=WINDOW_S):
        """``a`` acquires leadership."""
        lease = (await self.store.grant(5)).lease
        leader = Leader(
            name="a",
            incarnation="",
            grpc_address="",
            http_address="",
            version="",
            since="",
            lease_ttl_s=5,
            heartbeat_timeout_s=window_s,
        )
        term = await self.store.create(KEYS.leader, encode(leader), lease=lease)
        self.leader_key = LeaderKey(self.store, KEYS, "a", term, version="1.0")
        return term

    async def silence(self, lasting_s=LIMIT_S + 0.01):
        """What the standby has heard: what stands there now, for ``lasting_s``."""
        leader = await self.store.get(KEYS.leader)
        snapshot = await self.deposition.snapshot(leader, **ASK)
        return detector_after(*every(0.05, lasting_s), lasting_s, snapshot=snapshot)

    async def term_record(self):
        """The record as it stands."""
        return decode((await self.store.get(KEYS.term_record)).value, TermRecord)


@pytest.fixture
def scene():
    return Scene()


async def test_a_silent_leader_is_deposed_in_one_transaction(scene):
    """Its key is gone, and the record says how it ended."""
    term = await scene.lead()
    await scene.leader_key.open_term_record(LIMIT_S, **ASK)
    await scene.leader_key.send_heartbeat(**ASK)

    ended = await scene.deposition.depose(await scene.silence(), **ASK)

    assert await scene.store.get(KEYS.leader) is None
    assert ended == (await scene.store.get(KEYS.term_record)).mod_revision
    record = await scene.term_record()
    assert msgspec.structs.replace(record, ending=None) == TermRecord(
        term=term, name="a", reason="deposed", quiesced=False, window_s=0
    )
    assert record.ending.silent_s > LIMIT_S


async def test_a_leader_that_never_gave_a_heartbeat_is_deposed_as_well(scene):
    """Making the key was its first one; it had not signed, so nothing ran in its name."""
    await scene.lead()

    assert await scene.deposition.depose(await scene.silence(), **ASK) is not None


@pytest.mark.parametrize("sign", ["heartbeat", "window", "signature", "end"])
async def test_a_leader_that_moved_since_it_was_seen_is_not_deposed(scene, sign):
    """Between the decision and the action, or while the action was on its way."""
    await scene.lead()
    await scene.leader_key.send_heartbeat(**ASK)
    silence = await scene.silence()
    grant = scene.store.grant

    async def move(*args, **kwargs):
        match sign:
            case "heartbeat":
                await scene.leader_key.send_heartbeat(**ASK)
            case "window":
                await scene.leader_key.open_term_record(LIMIT_S, **ASK)
                assert await scene.leader_key.write_heartbeat_timeout(1.0, 1.01, **ASK)
            case "signature":
                await scene.leader_key.open_term_record(LIMIT_S, **ASK)
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
        [Put(KEYS.term_record, encode(TermRecord(term=1, name="z", reason="leading", quiesced=False,
                                      window_s=5.05)))]
    )  # fmt: skip
    assert await scene.leader_key.open_term_record(LIMIT_S, **ASK) == 5.05

    silence = await scene.silence(0.6)
    await scene.deposition.depose(silence, **ASK)

    assert (await scene.term_record()).window_s == pytest.approx(5.05 - 0.6)


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
    await scene.leader_key.open_term_record(LIMIT_S, **ASK)
    commit = scene.store.commit
    late = []

    async def hold_up(*args, **kwargs):
        late.append((args, kwargs))
        scene.store.commit = commit
        return await scene.store.commit((), when=kwargs["when"])

    scene.store.commit = hold_up
    await scene.leader_key.write_heartbeat_timeout(0.6, 0.61, **ASK)
    assert await scene.leader_key.write_heartbeat_timeout(2.0, 2.02, **ASK)

    [(args, kwargs)] = late
    assert not (await commit(*args, **kwargs)).succeeded
    assert heartbeat_timeout_s(await scene.store.get(KEYS.leader)) == 2.0
    assert (await scene.term_record()).window_s == 2.02


async def test_a_record_of_a_version_without_a_heartbeat_has_no_timeout(scene):
    """Such a leader has its lease and nothing else: it is not deposed."""
    await scene.lead()
    record = await scene.store.get(KEYS.leader)
    old = record.value.replace(f',"heartbeat_timeout_s":{WINDOW_S}', "")
    await scene.store.commit([Put(KEYS.leader, old)])

    assert "heartbeat" not in old
    assert heartbeat_timeout_s(await scene.store.get(KEYS.leader)) == 0

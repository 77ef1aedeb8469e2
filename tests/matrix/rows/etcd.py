"""Rows 21 to 34: etcd is lost, frozen, slow, full, compacted, and written to by hand."""

from __future__ import annotations

import threading
from random import Random

import grpc
import pytest

from mgr.clock import CLOCK
from mgr.store import etcd3_stubs
from mgr.store.api import Delete
from tests.matrix.row import (
    CHANGES,
    HELD,
    KEY,
    ROOM,
    Figures,
    Place,
    Row,
    ended,
    failover,
    measured,
    stands,
)
from tests.support import process
from tests.support.cluster import Manager, wait_for
from tests.support.faults.breaking import heal
from tests.support.faults.lab import Lab

ALARM = etcd3_stubs.method("Maintenance", "Alarm")
COMPACT = etcd3_stubs.method("KV", "Compact")
DEFRAGMENT = etcd3_stubs.method("Maintenance", "Defragment")
DELETE = etcd3_stubs.method("KV", "DeleteRange")
PUT = etcd3_stubs.method("KV", "Put")
RANGE = etcd3_stubs.method("KV", "Range")
REVOKE = etcd3_stubs.method("Lease", "LeaseRevoke")
DEACTIVATE = 2
"""What is done with an alarm of etcd, as a number of its protocol."""
FULL_S = 8.0
"""Longer than a lease."""
MIB = 1 << 20
QUORUM_LOST_S = 10.0
ELECTION_S = 2.5
COMPACTIONS = 5
CHANGES_AFTER_REVOCATION = 3
"""All managers join again at once; the first to win may not be a warm standby yet."""
STUTTER_S = 0.5
STUTTERS = 6


def leader_of_etcd(lab: Lab):
    name = lab.etcd_leader()
    return next(member for member in lab.etcd.members if member.name == name)


def kill_leader(lab: Lab, active: Manager) -> None:
    leader_of_etcd(lab).kill()


def freeze_leader(lab: Lab, active: Manager) -> None:
    leader_of_etcd(lab).freeze()


def kill_both(lab: Lab, rng: Random) -> Figures:
    """The host that both were on is gone."""
    del rng
    active, leader = lab.settled(), leader_of_etcd(lab)

    def inject() -> None:
        leader.kill()
        active.signal(process.signal.SIGKILL)

    return measured(lab, inject)


def lose_quorum(lab: Lab, rng: Random) -> Figures:
    """Nobody leads by belief; with the quorum the same active goes on, in the same term."""
    active = lab.settled()
    term = lab.recorder.terms[-1].term
    lost = rng.sample(lab.etcd.members, 2)
    for member in lost:
        member.freeze()
    lab.pause(QUORUM_LOST_S)
    begun_s = CLOCK.now()
    for member in lost:
        member.thaw()
    first = wait_for(lambda: lab.record.first_after(begun_s, term - 1), "an answer", 30)
    lab.settled()
    same = lab.recorder.terms[-1].term == term
    assert same or active.name != lab.recorder.terms[-1].name
    return {"resumed": (first.ended_s - begun_s) * 1e3, CHANGES: 0 if same else 1}


def freeze_two(lab: Lab, active: Manager) -> None:
    for member in lab.etcd.members[:2]:
        member.freeze()


def fill_up(channel: grpc.Channel) -> None:
    for number in range(ROOM // MIB + 1):
        ask(channel, PUT, key=b"/filler/%d" % number, value=b"x" * MIB)


def fill(lab: Lab, rng: Random) -> Figures:
    """Etcd takes no write until an operator makes room; leases live on all the while."""
    del rng
    lab.settled()
    count = len(lab.recorder.terms)
    term = lab.recorder.terms[-1].term
    with grpc.insecure_channel(lab.etcd.endpoints[0]) as channel:
        with pytest.raises(grpc.RpcError, match="database space exceeded"):
            fill_up(channel)
        lab.pause(FULL_S)
        ask(channel, DELETE, key=b"/filler/", range_end=b"/filler0")
        newest = ask(channel, RANGE, key=b"/filler/").header.revision
        ask(channel, COMPACT, revision=newest, physical=True)
    for member in lab.etcd.members:
        with grpc.insecure_channel(member.address) as channel:
            ask(channel, DEFRAGMENT)
    with grpc.insecure_channel(lab.etcd.endpoints[0]) as channel:
        for alarm in ask(channel, ALARM).alarms:
            ask(channel, ALARM, action=DEACTIVATE, memberID=alarm.memberID, alarm=alarm.alarm)
    begun_s = CLOCK.now()
    first = wait_for(lambda: lab.record.first_after(begun_s, term - 1), "an answer", 30)
    lab.settled()
    return {
        "resumed": (first.ended_s - begun_s) * 1e3,
        CHANGES: len(lab.recorder.terms) - count,
    }


def stutter(lab: Lab, active: Manager) -> None:
    """Its leader stops for half a second, again and again, as for a slow disk."""
    leader = leader_of_etcd(lab)
    for _ in range(STUTTERS):
        leader.freeze()
        lab.pause(STUTTER_S)
        leader.thaw()
        lab.pause(2 * STUTTER_S)


def compact(lab: Lab, active: Manager) -> None:
    """Compacted up to now and defragmented, once a second, under load."""
    for number in range(COMPACTIONS):
        lab.recorder.catch_up()
        member = lab.etcd.members[number % 3]
        with grpc.insecure_channel(member.address) as channel:
            compacted = {"revision": lab.recorder.revision, "physical": True}
            ask(channel, COMPACT, **compacted)
            ask(channel, DEFRAGMENT)
        threading.Event().wait(1)


def revoke_lease(lab: Lab, active: Manager) -> None:
    """An operator's hand, with etcdctl."""
    with grpc.insecure_channel(lab.etcd.endpoints[0]) as channel:
        [leader] = ask(channel, RANGE, key=lab.keys.leader.encode()).kvs
        ask(channel, REVOKE, ID=leader.lease)


def delete_key(lab: Lab, active: Manager) -> None:
    lab.in_store(Delete(lab.keys.leader))


def ask(channel, method, **fields):
    call = channel.unary_unary(
        method.path,
        request_serializer=method.request.SerializeToString,
        response_deserializer=method.response.FromString,
    )
    return call(method.request(**fields), timeout=10)


def duplicate(lab: Lab, rng: Random) -> Figures:
    """A second manager of a standby's name waits out a lease, and refuses by name."""
    del rng
    lab.settled()
    count, standby = len(lab.recorder.terms), lab.standby()
    second = standby.twin(lab.directory / "twin.log")
    second.start()
    status = second.wait(30)
    assert status, "the second one runs"
    assert "is running already" in second.log.read_text()
    heal(lab)
    return {CHANGES: len(lab.recorder.terms) - count}


ROWS = (
    Row(
        number=21,
        fault="kill -9 of etcd's leader",
        holds="with modules that change only the store the active stays; commands are held for "
        "the election",
        run=stands(kill_leader, lasts_s=2.5),
        place=Place.STORE,
        fast=True,
        targets={CHANGES: 0, HELD: 1600},
    ),
    Row(
        number=21,
        fault="the same, for longer than a deadline, with a module that acts outside",
        holds="its worker is ended by the clock: the election costs a failover",
        run=ended(kill_leader, lasts_s=ELECTION_S),
        runs=5,
    ),
    Row(
        number=22,
        fault="SIGSTOP of etcd's leader, CONT after 3 s",
        holds="the same; what it answers late proves nothing",
        place=Place.STORE,
        run=stands(freeze_leader, lasts_s=3),
        runs=5,
        targets={CHANGES: 0, HELD: 2000},
    ),
    Row(
        number=22,
        fault="SIGSTOP of etcd's leader, CONT after 10 s: longer than a lease",
        holds="the active stays while it lasts. Etcd's old leader wakes and revokes every lease it "
        "thinks has run out (3.5.30 does): then leadership moves, and nothing else is harmed",
        run=stands(freeze_leader, lasts_s=10, changes_max=CHANGES_AFTER_REVOCATION),
        place=Place.STORE,
        runs=5,
    ),
    Row(
        number=23,
        fault="etcd's leader and the active's guard killed together",
        holds="a new active after the election",
        run=kill_both,
        targets={KEY: 2500},
    ),
    Row(
        number=24,
        fault="two of three etcds frozen for 10 s",
        holds="nobody leads by belief; the same active resumes if its lease lives",
        run=lose_quorum,
        place=Place.STORE,
        runs=5,
        targets={"resumed": 2000},
    ),
    Row(
        number=24,
        fault="the same with a module that acts outside",
        holds="its worker is ended by the clock; with the quorum another one leads",
        run=ended(freeze_two, lasts_s=QUORUM_LOST_S),
        fast=True,
        runs=5,
    ),
    Row(
        number=25,
        fault="an etcd is isolated from its peers, its clients with it",
        holds="streams that require a leader break, clients move on",
        elsewhere="tests/integration/store/test_three_endpoints.py",
    ),
    Row(
        number=26,
        fault="etcd's leader stutters: 0.5 s in every 1.5 s",
        holds="no flap",
        run=stands(stutter, lasts_s=1),
        place=Place.STORE,
        runs=5,
        targets={CHANGES: 0},
        not_here="a slow fsync itself: etcd is a static program, nothing can be loaded before it, "
        "and this kernel has no delaying block device. Stopped and continued instead",
    ),
    Row(
        number=27,
        fault="etcd is out of space",
        holds="writes are refused, so there are no heartbeats: the active is suspended, and nobody "
        "can take its place. With room again it resumes, or a standby that was waiting deposes it",
        run=fill,
        place=Place.SMALL,
        runs=3,
        targets={"resumed": 2000},
    ),
    Row(
        number=28,
        fault="compaction and defragmentation once a second, under load",
        holds="feeds list again, no event is missed",
        run=stands(compact, lasts_s=0),
        place=Place.STORE,
        runs=3,
        targets={CHANGES: 0},
    ),
    Row(
        number=31,
        fault="an operator revokes the active's lease",
        holds="its worker shuts down when it is notified; the next one waits for the heartbeat "
        "timeout before it acts outside",
        run=failover(revoke_lease),
        fast=True,
        targets={KEY: 250},
    ),
    Row(
        number=32,
        fault="an operator deletes the leader key",
        holds="the same",
        run=failover(delete_key),
        fast=True,
        targets={KEY: 250},
    ),
    Row(
        number=33,
        fault="etcd is restored from an older snapshot",
        holds="managers stand by as `INELIGIBLE`, with the reason",
        elsewhere="tests/matrix/test_restored_etcd.py",
    ),
    Row(
        number=34,
        fault="a second manager with the name of a live one",
        holds="it refuses: who, where, since when",
        run=duplicate,
        runs=3,
        targets={CHANGES: 0},
    ),
)

"""The audit of an active: what it takes over, what it records, when it hands over."""

from __future__ import annotations

import json
from types import SimpleNamespace

import msgspec

from mgr.access.administrator import make_administrator
from mgr.access.caps import AccessRequest
from mgr.access.identity import Caller
from mgr.active.audit import HAND_OVER_AGAIN_S, SinkWatch
from mgr.active.leadership_history import LeadershipHistory
from mgr.audit.record import AuditRecord, encode, note_of_etcd_owner
from mgr.audit.ring import records_in
from mgr.election.history import LeadershipChange
from mgr.store.keys import Keys
from tests.support.clock import ManualClock
from tests.support.leading import leading

NOTE = AuditRecord(
    term=0,
    sequence=0,
    at="2026-01-01T00:00:00+00:00",
    manager="b",
    command="mgr module disable",
    outcome="ok",
    who="client.ops",
    arguments={"module": "web"},
    request_id="r9",
    unled=True,
)


async def test_what_was_executed_while_nobody_led_becomes_a_record(active):
    """It gets a number of this term, and keeps its author and time. The note is gone."""
    async with active(stored={"unled/1": encode(NOTE)}) as cluster:
        await cluster.until(lambda: cluster.mirror.list(cluster.keys.unled) == {})
        [record] = records_in(cluster.mirror, cluster.keys)
        lines = (await cluster.ask("log", "last", "10", "debug", "audit")).stdout

    assert record == msgspec.structs.replace(NOTE, term=cluster.term, sequence=record.sequence)
    assert "mgr.b executed 'mgr module disable module=web' for client.ops" in lines


async def test_what_the_owner_of_etcd_did_is_recorded_while_a_manager_leads(active):
    """``mgrd recover-admin`` asks no manager, and leaves a note."""
    async with active() as cluster:
        note = note_of_etcd_owner(cluster.keys, "mgrd recover-admin", {"client": "ops"})
        await make_administrator(cluster.store, cluster.keys, "ops", along=[note])
        await cluster.until(lambda: records_in(cluster.mirror, cluster.keys))
        [record] = records_in(cluster.mirror, cluster.keys)

    assert (record.who, record.command) == ("the owner of etcd", "mgrd recover-admin")
    assert record.arguments == {"client": "ops"}


async def test_a_refusal_by_any_check_of_the_process_is_recorded(active):
    """Of a command, a call, a page: they all ask the same table."""
    async with active() as cluster:
        eve = Caller("eve", "10.6.6.6")
        cluster.manager.view.access.on_refusal(eve, AccessRequest("config set", "rw"))
        cluster.manager.view.access.note_unauthenticated("10.7.7.7", "http")
        await cluster.until(lambda: len(records_in(cluster.mirror, cluster.keys)) == 2)
        found = records_in(cluster.mirror, cluster.keys)

    assert [(each.outcome, each.who, each.command) for each in found] == [
        ("refused", "client.eve", "config set"),
        ("refused", "client@10.7.7.7", "http"),
    ]


async def test_giving_up_leadership_is_recorded_before_it_is_asked_for(active):
    """By the call as by the command; the history names who asked."""
    async with active() as cluster:
        await cluster.role.fail("", "", Caller.anonymous("10.0.0.7"))
        [record] = records_in(cluster.mirror, cluster.keys)

    assert (record.command, record.who, record.outcome) == ("mgr fail", "client@10.0.0.7", "ok")
    assert cluster.resigned == [("mgr fail by client@10.0.0.7", "")]


async def test_audit_ls_filters_and_orders(active):
    """By author, command, outcome and place."""
    async with active() as cluster:
        await cluster.ask("config", "set", "mgr", "mgr_stats_period", "7")
        await cluster.ask("config", "set", "mgr", "mgr_stats_period", "x")
        await cluster.ask("log", "hello")

        async def found(*filters):
            answer = await cluster.ask("audit", "ls", *filters, format="json")
            return [
                (each["command"], each["outcome"], each["id"]) for each in json.loads(answer.stdout)
            ]

        every = await found()
        assert [each[:2] for each in every] == [
            ("config set", "ok"),
            ("config set", "failed"),
            ("log", "ok"),
        ]
        assert await found("--command=config") == every[:2]
        assert await found("--outcome=failed") == [every[1]]
        assert await found(f"--after={every[1][2]}") == [every[2]]
        assert await found("--since=1h") == every
        assert await found("--since=2999-01-01T00:00:00+00:00") == []
        assert await found("--who=nobody") == []
        assert await found("1") == [every[2]]
        for wrong in ("--after=x", "--since=99999999999999s", "--since=yesterday"):
            assert (await cluster.ask("audit", "ls", wrong)).retval < 0


class Sinks:
    """Sinks of a manager, of which one may fail."""

    def __init__(self):
        self.trouble = "audit sink 'file' does not keep records: full"

    def subscribe(self, listener):
        self.changed = listener


def watch_of(*presences):
    """A watch over sinks that fail, beside managers with these names and troubles."""
    clock, resigned = ManualClock(), []
    manager = SimpleNamespace(
        id="a",
        clock=clock,
        keys=Keys("test"),
        audit_sinks=Sinks(),
        mirror=SimpleNamespace(subscribe=lambda *_: None),
        view=SimpleNamespace(
            presences=lambda: [
                SimpleNamespace(name=name, warm=warm, audit_trouble=trouble)
                for name, warm, trouble in presences
            ]
        ),
    )
    watch = SinkWatch(manager, lambda *asked: resigned.append(asked))
    watch.follow()
    return watch, manager, resigned


def test_leadership_goes_to_a_warm_standby_whose_sinks_keep_records():
    """By name, so that no other one takes it; asked again only after a while."""
    watch, manager, resigned = watch_of(
        ("a", True, ""), ("b", True, "full too"), ("c", False, ""), ("d", True, "")
    )
    assert [successor for _, successor, _ in resigned] == ["d"]
    watch.check()
    assert len(resigned) == 1
    manager.clock.advance(HAND_OVER_AGAIN_S)
    manager.audit_sinks.changed()
    assert len(resigned) == 2


def test_leadership_stays_where_no_other_manager_could_do_better():
    """Reads are answered; the health check says what is wrong."""
    _, _, resigned = watch_of(("a", True, ""), ("b", True, "full too"))

    assert resigned == []


async def test_the_history_of_leadership_keeps_the_newest_terms():
    """As many as the option says."""
    async with leading() as term:
        for number in range(1, 251):
            change = LeadershipChange(term=number, name="a", host="h", version="1", since="")
            await term.fenced.commit([change.operation(term.keys)])
        config = SimpleNamespace(number=lambda _: 10)
        manager = SimpleNamespace(config=config, mirror=term.mirror, keys=term.keys)

        await LeadershipHistory(manager, term.fenced).trim()

        kept = list(term.mirror.list(term.keys.leadership))
        assert kept == [term.keys.leadership_of(number) for number in range(241, 251)]

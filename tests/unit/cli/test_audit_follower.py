"""``mgrctl audit follow`` shows each record once."""

from __future__ import annotations

from mgr.cli import this_host
from mgr.cli.audit_follower import PENDING_S, RUNS_LONG_S, AuditFollower
from mgr.cli.invocation import Invocation


def record(sequence, outcome="ok", term=7):
    return {"term": term, "sequence": sequence, "outcome": outcome}


def shown(follower, now_s, *records):
    return [(each["sequence"], each["outcome"]) for each in follower.take(records, now_s)]


def test_what_is_new_is_shown_once_also_after_a_failover():
    """A later term comes after every number of an earlier one."""
    follower = AuditFollower()

    assert shown(follower, 0, record(1), record(2)) == [(1, "ok"), (2, "ok")]
    assert follower.after == "7-2"
    assert shown(follower, 1, record(1, term=9)) == [(1, "ok")]
    assert follower.after == "9-1"


def test_a_command_is_shown_when_it_has_ended():
    """Later ones are not held up, and not shown again."""
    follower = AuditFollower()

    assert shown(follower, 0, record(1, "started"), record(2)) == [(2, "ok")]
    assert follower.after == "7-0"
    assert shown(follower, 1, record(1), record(2)) == [(1, "ok")]
    assert follower.after == "7-2"


def test_a_command_that_runs_for_long_is_shown_as_started_and_then_forgotten():
    """Its manager may have died: then it stays so."""
    follower = AuditFollower()
    assert shown(follower, 0, record(1, "started")) == []
    assert shown(follower, RUNS_LONG_S, record(1, "started")) == [(1, "started")]
    assert shown(follower, RUNS_LONG_S + 1, record(1, "started")) == []
    assert shown(follower, PENDING_S, record(1, "started")) == []

    assert follower.after == "7-1"


def test_the_local_socket_is_not_asked_to_follow(monkeypatch, tmp_path):
    """It answers once, and following is more than that."""

    def asked(_environment):
        raise AssertionError("the manager of this host was asked")

    monkeypatch.setattr(this_host, "socket_of", asked)
    words = ("audit", "follow", "--who=ops")
    invocation = Invocation(words=words, hosts="", table=tmp_path / "t", named=False)

    assert this_host.execute(invocation, {}) is None

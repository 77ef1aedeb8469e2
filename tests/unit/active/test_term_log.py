"""What operators read who follow the cluster log: why somebody leads, and when nobody may act."""

from __future__ import annotations

import pytest

from mgr.active.term_log import TermLog
from mgr.cluster.log import ClusterLog, Priority
from mgr.election.records import TermRecord
from tests.support.clock import ManualClock


def story():
    """A term log of manager ``b``, and what it wrote: priority and line."""
    log, clock = ClusterLog(), ManualClock()
    written = []
    log.listen(lambda entry: written.append((entry.priority, entry.message)))
    return TermLog(log, "b", clock), clock, written


def term_record(reason, why=""):
    """How the last term of ``a`` ended."""
    return TermRecord(term=1, name="a", reason=reason, quiesced=False, window_s=0, why=why)


def test_a_term_begins_with_the_end_of_the_last_one():
    """An accident is a warning, and so it is seen by whoever follows only those."""
    term_log, _, written = story()
    ended = term_record("reaped")
    term_log.term_started(ended.summary(), planned=ended.planned, unloaded=[])

    assert written == [
        (Priority.INFO, "Activating manager daemon b"),
        (Priority.WARNING, "mgr.a lost its worker, which died"),
    ]


@pytest.mark.parametrize(
    ("ended", "line"),
    [
        (term_record("resigned", "mgr fail"), "mgr.a handed over leadership: mgr fail"),
        (term_record("resigned"), "mgr.a handed over leadership"),
        (term_record("leading"), "mgr.a lost leadership without a hand-over: its lease is gone"),
        (term_record("deposed"), "mgr.a was silent and was deposed"),
    ],
)
def test_every_end_has_its_words(ended, line):
    """Whoever reads them knows where to look next."""
    assert ended.summary() == line
    assert ended.planned is (ended.reason == "resigned")


def test_the_first_term_has_no_story_before_it():
    """Nothing is made up."""
    term_log, _, written = story()
    term_log.term_started("", planned=True, unloaded=["lame"])

    assert written == [
        (Priority.INFO, "Activating manager daemon b"),
        (Priority.ERROR, "Failed to load ceph-mgr modules: lame"),
    ]


def test_a_suspension_is_logged_once_and_its_end_with_its_length():
    """Phases that follow each other in between change nothing."""
    term_log, clock, written = story()
    for phase in ("starting", "active", "suspended", "suspended_starting"):
        term_log.phase_changed(phase)
        clock.advance(2)
    term_log.phase_changed("active")
    term_log.phase_changed("draining")

    assert [priority for priority, _ in written] == [Priority.WARNING, Priority.INFO]
    assert "b is suspended: etcd did not confirm its term" in written[0][1]
    assert written[1][1] == "Manager daemon b is active again after 4.0 s"


def test_a_suspension_names_its_cause_and_each_new_one():
    """Space, quorum or network: the operator does something else for each."""
    term_log, clock, written = story()
    term_log.phase_changed("suspended", "slow: etcd does not answer")
    term_log.phase_changed("suspended", "slow: etcd does not answer")
    term_log.phase_changed("suspended", "no space: etcd is full")
    clock.advance(3)
    term_log.phase_changed("active")

    assert [line for _, line in written] == [
        "Manager daemon b is suspended: slow: etcd does not answer. Commands wait",
        "Manager daemon b is suspended: no space: etcd is full. Commands wait",
        "Manager daemon b is active again after 3.0 s",
    ]

"""A run's logs and history, replayed: what is sound passes, the first impossible step is named."""

from __future__ import annotations

import json
import logging
from types import SimpleNamespace

import pytest
from pythonjsonlogger.json import JsonFormatter

from mgr.election.machine import LEADING, TRANSITIONS, Event, Phase, step
from mgr.election.records import TermRecord, encode
from mgr.store.keys import Keys
from tests.support.faults.replay import (
    Change,
    Entry,
    RecordedHistory,
    changes,
    history,
    replay,
    verdicts,
)

KEYS = Keys("c")
LIFE = (
    ("JOINING", "JOINED", None),
    ("WARMING", "READY", None),
    ("STANDBY", "WON", 7),
    ("STARTING", "STARTED", 7),
    ("ACTIVE", "DEADLINE", 7),
    ("SUSPENDED", "TERM_CONFIRMED", 7),
    ("ACTIVE", "WORKER_EXITED", None),
    ("RELEASING", "RELEASED", None),
    ("JOINING", "JOINED", None),
)


def trace(life=LIFE):
    return [
        Change(number, step(Phase[before], Event[because]).phase.name, before, because, term)
        for number, (before, because, term) in enumerate(life, 1)
    ]


def term_record(term, reason="leading", *, quiesced=False, window_s=0.0):
    return TermRecord(term=term, name="a", reason=reason, quiesced=quiesced, window_s=window_s)


def test_a_whole_life_is_accepted():
    assert replay(trace()) == ""


def test_a_manager_may_start_again_wherever_it_ended():
    assert replay(trace(LIFE[:5] + LIFE[:2])) == ""


def test_every_step_of_the_table_is_accepted():
    """So what is refused is refused by the table."""
    for (phase, event), following in TRANSITIONS.items():
        term = 3 if following.phase in LEADING else None
        assert replay([Change(1, following.phase.name, phase.name, event.name, term)]) == ""


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (
            Change(5, "EXITING_AFTER_HANDOVER", "ACTIVE", "WORKER_EXITED", None),
            "the machine says RELEASING",
        ),
        (Change(5, "ACTIVE", "STANDBY", "WON", 9), "the manager was ACTIVE"),
        (Change(5, "JOINING", "ACTIVE", "JOINED", None), "this event cannot happen in that phase"),
        (Change(5, "SUSPENDED", "ACTIVE", "BORED", 7), "there is no 'BORED'"),
        (Change(5, "SUSPENDED", "ACTIVE", "DEADLINE", 8), "without an election"),
        (Change(5, "SUSPENDED", "ACTIVE", "DEADLINE", None), "no term is named"),
        (Change(5, "RELEASING", "ACTIVE", "WORKER_EXITED", 7), "does not lead, and names term 7"),
    ],
)
def test_the_first_impossible_step_is_named(broken, said):
    found = replay([*trace()[:4], broken])

    assert found.startswith(f"line 5: {broken.before} to {broken.phase}")
    assert said in found


def test_a_manager_never_leads_twice_in_a_term_or_in_an_older_one():
    again = trace((*LIFE, LIFE[1], ("STANDBY", "WON", 7)))

    assert "term 7 is not newer than its term 7" in replay(again)


def test_the_lines_are_read_from_a_real_log():
    """As the product's own formatter writes them, between lines of others."""
    record = logging.getLogger("mgr.guard.loop").makeRecord(
        "mgr.guard.loop",
        logging.INFO,
        "loop.py",
        1,
        "phase changed",
        (),
        None,
        extra={"phase": "STARTING", "before": "STANDBY", "because": "WON", "term": 7},
    )
    line = JsonFormatter("{message}", style="{").format(record)

    found = changes(["a module printed this", '{"message": "hello"}', "[1]", line, line[:20]])

    assert found == [Change(4, "STARTING", "STANDBY", "WON", 7)]


def test_a_line_behind_half_of_another_is_read():
    """A worker was writing its stacks when its guard wrote a line."""
    line = json.dumps({"message": "phase changed", "phase": "SUSPENDED", "before": "ACTIVE"})

    [found] = changes([f'  File "/a/{{"x.py", line 3 in {line}\n', "  File half\n"])

    assert (found.line, found.phase, found.before) == (1, "SUSPENDED", "ACTIVE")


def test_a_sound_history_is_accepted():
    assert (
        history(
            [
                Entry(2, 2),
                Entry(3, 2, term_record(2, window_s=1.5)),
                Entry(9, 0, term_record(2, "resigned", quiesced=True)),
                Entry(10, 10),
                Entry(11, 10, term_record(10, window_s=1.5)),
                Entry(14, 0),  # its lease ran out
                Entry(15, 15),
                Entry(16, 15, term_record(15, window_s=1.5)),
                Entry(20, 0, term_record(15, "deposed", window_s=0.2)),
            ]
        )
        == []
    )


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([Entry(63, 63), Entry(64, 0), Entry(14, 14)], "term 14 begins after term 63"),
        (
            [Entry(2, 2), Entry(5, 5), Entry(6, 5, term_record(2))],
            "of term 2 was written in term 5",
        ),
        (
            [Entry(2, 2), Entry(3, 2, term_record(2, "reaped"))],
            "recorded as reaped and still leads",
        ),
        (
            [Entry(2, 2), Entry(3, 0, term_record(2, "reaped", quiesced=True, window_s=1.0))],
            "recorded as quiesced and may still act",
        ),
        ([Entry(2, 2), Entry(3, 2, term_record(2, quiesced=True))], "quiesced and may still act"),
        (
            [Entry(2, 2), Entry(3, 0, term_record(2, "reaped")), Entry(4, 2, term_record(2))],
            "recorded as leading and had ended",
        ),
    ],
)
def test_what_is_wrong_with_a_history_is_said(entries, said):
    assert any(said in each for each in history(entries))


def event(key, value="", *, revision, created=0, deleted=False):
    pair = SimpleNamespace(
        key=key.encode(),
        value=value.encode(),
        mod_revision=revision,
        create_revision=created or revision,
    )
    return SimpleNamespace(type=int(deleted), kv=pair)


def test_a_recorder_keeps_the_history():
    recorder = RecordedHistory(["nowhere"], KEYS)
    record = term_record(4, "reaped", quiesced=True)

    recorder._transaction([event(KEYS.leader, "{}", revision=4)], 0.0)
    recorder._transaction([event(KEYS.heartbeat, "1", revision=5)], 0.0)
    recorder._transaction(
        [
            event(KEYS.term_record, encode(record), revision=6),
            event(KEYS.leader, revision=6, deleted=True),
        ],
        0.0,
    )

    assert recorder.entries == [Entry(4, 4), Entry(6, 0, record)]
    assert history(recorder.entries) == []


def test_a_run_is_judged_by_every_log_and_the_history(tmp_path):
    log = tmp_path / "a.log"
    line = {"message": "phase changed", "phase": "ACTIVE", "before": "STANDBY", "because": "WON"}
    log.write_text(json.dumps(line) + "\n")

    found = verdicts({"a": log}, [Entry(5, 5), Entry(4, 4)])

    assert len(found) == 2
    assert found[0].startswith("the log of a: line 1: STANDBY to ACTIVE")

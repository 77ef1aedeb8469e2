"""Replay what managers logged through the state machine, and what etcd recorded through its rules.

A run leaves two accounts: the line "phase changed" of every manager, in its JSON log, and the
history of the leader key and the term record, as ``EtcdRecorder`` read it from etcd. The first
must be a walk through the product's own table; the second must be a sequence of growing terms.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mgr.election.machine import LEADING, Event, Phase, step
from mgr.election.records import TermRecord, decode
from mgr.state_machine import UnexpectedEventError
from tests.support.faults.etcd_recorder import DELETED, EtcdRecorder

CHANGED: Final = "phase changed"
FIRST: Final = Phase.JOINING


@dataclass(frozen=True, slots=True)
class Change:
    """One line "phase changed": ``phase`` follows ``before`` because of an event.

    ``line`` is its number in the log, counted from 1. ``term`` is None in a phase without one.
    """

    line: int
    phase: str
    before: str
    because: str
    term: int | None


def changes(log: Iterable[str]) -> list[Change]:
    """Return every change of phase in the lines of a JSON log; other lines are left out."""
    found = []
    for number, line in enumerate(log, 1):
        entry = _entry(line)
        if isinstance(entry, dict) and entry.get("message") == CHANGED:
            words = (str(entry.get(name)) for name in ("phase", "before", "because"))
            found.append(Change(number, *words, entry.get("term")))
    return found


def _entry(line: str) -> object:
    """The JSON object that ends ``line``; None if there is none.

    Guard and worker write into one file. What a worker writes in pieces, the stacks of its threads
    above all, may have no end of line yet when its guard writes a line.
    """
    begin = line.find('{"')
    while begin >= 0:
        with contextlib.suppress(ValueError):
            return json.loads(line[begin:])
        begin = line.find('{"', begin + 1)
    return None


def replay(trace: Sequence[Change]) -> str:
    """Walk ``trace`` through the real state machine; the first impossible step in words, or "".

    A manager that starts again begins at ``JOINING``, wherever the one before it ended.
    """
    here: Phase | None = None
    term: int | None = None
    for change in trace:
        where = f"line {change.line}: {change.before} to {change.phase} because of {change.because}"
        try:
            before, phase = Phase[change.before], Phase[change.phase]
            event = Event[change.because]
        except KeyError as unknown:
            return f"{where}: there is no {unknown}"
        if before is not here and before is not FIRST and here is not None:
            return f"{where}: the manager was {here.name}"
        try:
            following = step(before, event).phase
        except UnexpectedEventError:
            return f"{where}: this event cannot happen in that phase"
        if following is not phase:
            return f"{where}: the machine says {following.name}"
        if trouble := _term_trouble(change, before, phase, term):
            return f"{where}: {trouble}"
        here, term = phase, change.term if change.term is not None else term
    return ""


def _term_trouble(change: Change, before: Phase, phase: Phase, term: int | None) -> str:
    """Judge the term of a change, where ``term`` is the newest of this manager so far."""
    if phase in LEADING and change.term is None:
        return "it leads, and no term is named"
    if phase not in LEADING and change.term is not None:
        return f"it does not lead, and names term {change.term}"
    if change.term is None:
        return ""
    if before in LEADING and change.term != term and term is not None:
        return f"term {change.term} follows term {term} without an election"
    if before not in LEADING and term is not None and change.term <= term:
        return f"term {change.term} is not newer than its term {term}"
    return ""


def replay_log(path: Path) -> str:
    """Replay the JSON log in the file at ``path``; the first impossible step in words, or ""."""
    with path.open(encoding="utf-8", errors="replace") as log:
        return replay(changes(log))


@dataclass(frozen=True, slots=True)
class Entry:
    """One revision of the history.

    Attributes:
        leader: The create revision of the leader key after it; 0: the key is absent.
        record: The term record, if it was written.

    """

    revision: int
    leader: int
    record: TermRecord | None = None


@dataclass
class RecordedHistory(EtcdRecorder):
    """A recorder that also keeps the history that ``history`` checks.

    Attributes:
        entries: One for each revision that touched the leader key or the term record.

    """

    entries: list[Entry] = field(default_factory=list)

    def _transaction(self, events: Iterable[Any], now_s: float) -> None:
        """Keep the events of one revision, and check them as every recorder does."""
        events = list(events)
        super()._transaction(events, now_s)
        keys = [event.kv.key.decode() for event in events]
        record = next(
            (
                decode(event.kv.value.decode(), TermRecord)
                for key, event in zip(keys, events, strict=True)
                if key == self.keys.term_record and event.type != DELETED
            ),
            None,
        )
        if record is not None or self.keys.leader in keys:
            self.entries.append(Entry(self.revision, self._leads, record))


def history(entries: Iterable[Entry]) -> list[str]:
    """Return what is wrong with the recorded history of leader key and term record, in words.

    Terms grow; a record names the term that leads as it is written, or that its transaction ends;
    a term recorded as ended is never recorded as leading again; ``quiesced`` leaves no window.
    """
    found: list[str] = []
    leader = newest = ended = 0
    for entry in entries:
        if entry.leader and entry.leader != leader:
            if entry.leader <= newest:
                found.append(f"term {entry.leader} begins after term {newest}")
            newest = max(newest, entry.leader)
        record = entry.record
        if record is not None:
            found += _record_trouble(record, before=leader, after=entry.leader, ended=ended)
            ended = ended if record.reason == "leading" else max(ended, record.term)
        leader = entry.leader
    return found


def _record_trouble(record: TermRecord, *, before: int, after: int, ended: int) -> list[str]:
    found = []
    leading = record.reason == "leading"
    belongs = after if leading else before
    if record.term != belongs:
        found.append(f"the record of term {record.term} was written in term {belongs}")
    if not leading and after:
        found.append(f"term {record.term} is recorded as {record.reason} and still leads")
    if leading and record.term <= ended:
        found.append(f"term {record.term} is recorded as leading and had ended")
    if record.quiesced and (leading or record.window_s > 0):
        found.append(f"term {record.term} is recorded as quiesced and may still act")
    return found


def verdicts(logs: Mapping[str, Path], entries: Iterable[Entry] = ()) -> list[str]:
    """Return everything that is wrong with a run: each manager's log by name, and the history."""
    troubles = {name: replay_log(path) for name, path in logs.items()}
    return [
        *(f"the log of {name}: {trouble}" for name, trouble in troubles.items() if trouble),
        *history(entries),
    ]

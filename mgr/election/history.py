"""History of leadership: who led in each term, why each term ended, how long nobody led.

A new leader writes one record, ``leadership/<term>``, in the transaction that opens its term
record. It has what is known at that moment: who begins to lead, and how the term before ended. So a
record is written once and never changed, and the end of a term stands in the record of the next
one. The active deletes the oldest records above a limit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec

from mgr.election.records import Ending, TermRecord, decode
from mgr.store.api import Put, Record
from mgr.store.keys import Keys

LEADING = "leading"
UNKNOWN = "unknown"
"""The reason of a term whose leader wrote nothing: it lost the leader key at once."""


class LeadershipChange(msgspec.Struct, frozen=True, kw_only=True):
    """The value of ``leadership/<term>``.

    Attributes:
        since: When the leader key was acquired, wall time in ISO 8601.
        gap_s: How long there was no leader key before, on the clock of this leader; None if it did
            not see the key vanish.
        before: The term record that it found; None in the first term, or if it was unreadable.

    """

    term: int
    name: str
    host: str
    version: str
    since: str
    gap_s: float | None = None
    before: TermRecord | None = None

    def operation(self, keys: Keys) -> Put:
        """Return the write that stores it."""
        return Put(keys.leadership_of(self.term), msgspec.json.encode(self).decode())


@dataclass(frozen=True, slots=True)
class Term:
    """One term, as ``mgr history`` shows it.

    Attributes:
        until: When it ended, wall time in ISO 8601; empty while it lasts, and if it is unknown.
        reason: Why it ended, as in ``TermRecord``; ``leading`` while it lasts.
        why: Who requested a hand-over, and further details, for people.
        unled_s: How long nobody led before this term: without a leader key, and before that with a
            leader that was silent. None if unknown.

    """

    term: int
    name: str
    host: str
    version: str
    since: str
    until: str
    reason: str
    why: str
    cause: str
    asked_by: str
    ended_by: str
    summary: str
    unled_s: float | None

    def document(self) -> dict[str, Any]:
        """Return it as data; the fields are stable."""
        return {
            "term": self.term,
            "name": self.name,
            "host": self.host,
            "version": self.version,
            "from": self.since,
            "to": self.until or None,
            "lasted_s": _between_s(self.since, self.until),
            "reason": self.reason,
            "why": self.why,
            "cause": self.cause,
            "asked_by": self.asked_by,
            "ended_by": self.ended_by,
            "summary": self.summary,
            "unled_before_s": self.unled_s,
        }


def terms(records: Mapping[str, Record], count: int | None = None) -> list[Term]:
    """Return the newest ``count`` terms (None: all) of the records under ``keys.leadership``.

    The newest is first. Records that cannot be read are left out.
    """
    newest_first = list(records.values())[::-1]
    found: list[Term] = []
    later: LeadershipChange | None = None
    for record in newest_first:
        if count is not None and len(found) >= count:
            break
        change = decode(record.value, LeadershipChange)
        if change is not None:
            found.append(_term(change, later))
            later = change
    return found


def last_change(records: Mapping[str, Record]) -> tuple[Term, Term] | None:
    """Return the present term and the one before it; None if no earlier term was recorded."""
    newest = terms(records, 2)
    return (newest[0], newest[1]) if len(newest) == 2 else None


def _term(change: LeadershipChange, later: LeadershipChange | None) -> Term:
    ended = later.before if later is not None else None
    if ended is not None and ended.term != change.term:
        ended = None
    ending = (ended.ending if ended is not None else None) or Ending()
    if later is None:
        reason, summary = LEADING, f"mgr.{change.name} leads"
    elif ended is None:
        reason, summary = UNKNOWN, f"how the term of mgr.{change.name} ended was not recorded"
    else:
        reason, summary = ended.reason, ended.summary()
        # A record that was never closed: the leader key expired with its lease, or was deleted.
        reason = "expired" if reason == LEADING else reason
    return Term(
        term=change.term,
        name=change.name,
        host=change.host,
        version=change.version,
        since=change.since,
        until=ending.at or _seen_gone(later),
        reason=reason,
        why=ended.why if ended is not None else "",
        cause=ending.cause,
        asked_by=ending.asked_by,
        ended_by=ending.by or (change.name if ending.at else ""),
        summary=summary,
        unled_s=_unled_s(change),
    )


def _unled_s(change: LeadershipChange) -> float | None:
    before = change.before
    ending = (before.ending if before is not None else None) or Ending()
    gap_s = change.gap_s
    if gap_s is None:
        # This leader did not see the key vanish. Two hosts' clocks may differ.
        gap_s = _between_s(ending.at, change.since)
    return None if gap_s is None else round(max(0.0, gap_s) + ending.silent_s, 6)


def _seen_gone(later: LeadershipChange | None) -> str:
    if later is None or later.gap_s is None:
        return ""
    try:
        gone = datetime.fromisoformat(later.since) - timedelta(seconds=later.gap_s)
    except (ValueError, OverflowError):
        return ""
    return gone.isoformat(timespec="microseconds")


def _between_s(since: str, until: str) -> float | None:
    try:
        span = datetime.fromisoformat(until) - datetime.fromisoformat(since)
    except (ValueError, TypeError):
        return None
    return round(span.total_seconds(), 6)

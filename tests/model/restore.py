"""Etcd is restored from a copy, or an endpoint belongs to another etcd: who believes what.

Whether an answer counts is asked of the product's own ``StoreIdentity``. What is modelled here is
an etcd with its revisions, its copies and its leader key, and managers that look, win and forget.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Final

from mgr.link import KnownStoreState
from mgr.store.identity import SILENT_S, StoreIdentity
from tests.model.checker import Label, Successors
from tests.model.derived import Reading

BAD, REV, KEY, HOLDER, COPY_REV, COPY_KEY, COPY_HOLDER, RESTORED, FOREIGN, LED = range(10)
"""The verdict; the revision; the leader key's create revision and whose it is (number plus 1); the
same in the copy (revision 0: there is none); whether etcd was restored; who leads by the word of
another etcd (number plus 1); the newest term in which anybody led."""
HEAD: Final = 10
SEEN_REV, SEEN_TERM, LEADS, SHOWN = range(4)
"""Of one manager: the newest revision and term it knows of; the term that it leads in; the leader's
term as its view shows it."""
SIZE: Final = 4
BUMP: Final = 5
NAMES: Final = "ABC"

VIOLATIONS: Final = (
    "",
    "I6: a manager leads in a term below one that it has seen",
    "I6: a view shows a leader of a term below one that it has shown before",
    "I6: an answer is refused, and the manager does not say why",
    "I6: a manager leads by the word of an etcd that is not ours",
    "a term is not newer than every term in which anybody led",
    "I6: a manager makes the leader key of a term that it has seen before",
    "I6: a manager uses an answer that is older than what it has seen",
)
LOWER, OLDER_SHOWN, SILENT, OTHER, AGAIN, TWICE, PAST = range(1, 8)
PROTECTIONS: Final = {
    "revisions only grow": "an answer below a revision that was seen does not count",
    "terms only grow": "a leader key below the newest term seen is given back, and is nobody",
    "terms never repeat": "a leader key made now, at a term that was seen before, is given back",
    "cluster id": "an answer of another etcd cluster does not count",
}
OURS, THEIRS = 1, 2

LOOK, LOOK_OLD, WIN, WIN_UNHEARD, CLAIM, BACK, END, WRITE, COPY, RESTORE, RAISED, FORGET, ALIEN = (
    range(13)
)
TEXTS: Final = (
    "{who} looks: revision {rev}, leader key {key}",
    "{who} looks and does not use the answer: revision {rev}, it knows of {seen}",
    "{who} makes the leader key: term {key}",
    "{who} makes the leader key at {key} and does not use the answer: it knows of {seen}",
    "{who} finds a leader key on its own lease: term {key}",
    "{who} gives the leader key {before_key} back: it has seen term {term}",
    "the leader key {before_key} ends",
    "somebody writes: revision {rev}",
    "etcd is copied at revision {rev}",
    "etcd is restored from the copy: revision {rev}, leader key {key}",
    "etcd is restored with raised revisions: revision {rev}, leader key {key}",
    "{who} starts again and remembers nothing",
    "{who} asks the endpoint that belongs to another etcd, where nobody leads",
)


@cache
def counts(seen_rev: int, seen_term: int, revision: int, cluster: int) -> tuple[bool, bool]:
    """Ask the real ``StoreIdentity`` whether an answer counts, and whether it says why not."""
    seen = KnownStoreState(cluster_id=OURS, newest_revision=seen_rev, newest_term=seen_term)
    clock = Reading()
    identity = StoreIdentity(seen, clock=clock)
    if not identity.matches("endpoint", cluster):
        identity.unanswered()
        # It says so when this has lasted: etcd may be electing.
        clock.now_s += SILENT_S
        identity.unanswered()
        return False, bool(identity.trouble)
    return identity.advance(revision, seen_rev), bool(identity.trouble)


class Restore:
    """The model, with some protections taken out."""

    violations = VIOLATIONS

    def __init__(
        self,
        *broken: str,
        managers: int = 2,
        revisions: int = 7,
        foreign: bool = False,
        forgets: bool = False,
        everybody: bool = False,
    ) -> None:
        """Go as far as ``revisions``.

        With ``foreign``, an endpoint is another etcd's. With ``forgets``, managers start again.
        With ``everybody``, a term must be newer than all others, not only than those seen.
        """
        if set(broken) - PROTECTIONS.keys():
            raise ValueError(f"no such protection: {broken}")
        what = [f"{managers} managers", *(("foreign",) if foreign else ())]
        what += [*(("forgets",) if forgets else ()), *(("everybody",) if everybody else ())]
        self.name = "restore: " + " ".join((*what, *broken))
        self.broken = frozenset(broken)
        self.revisions, self.foreign = revisions, foreign
        self.forgets, self.everybody = forgets, everybody
        self.bases = tuple(HEAD + number * SIZE for number in range(managers))

    def initial(self) -> Iterable[bytes]:
        """Nobody leads."""
        state = bytearray(HEAD + SIZE * len(self.bases))
        state[REV] = 1
        return [bytes(state)]

    def canonical(self, state: bytes) -> bytes:
        """Return it as it is: holders are named."""
        return state

    def successors(self, state: bytes) -> Successors:
        """Everything that may happen next."""
        out: Successors = []
        for who, base in enumerate(self.bases):
            self._look(state, who, base, out)
            self._win(state, who, base, out)
            if self.forgets and state[base + SEEN_REV]:
                after = bytearray(state)
                after[base : base + SIZE] = bytes(SIZE)
                out.append(((FORGET, who), bytes(after)))
            if self.foreign and not state[base + LEADS]:
                self._ask_foreign(state, who, base, out)
        self._etcd(state, out)
        return out

    def describe(self, label: Label, before: bytes, after: bytes) -> str:
        """Say who did what."""
        action, who = label
        base = HEAD + who * SIZE
        return TEXTS[action].format(
            who=NAMES[who],
            rev=after[REV],
            key=after[KEY] or "absent",
            before_key=before[KEY] or before[REV] + 1,
            seen=before[base + SEEN_REV],
            term=before[base + SEEN_TERM],
        )

    def _counts(self, s: bytes | bytearray, base: int, cluster: int = OURS) -> bool:
        good, says_why = counts(s[base + SEEN_REV], s[base + SEEN_TERM], s[REV], cluster)
        if not good and not says_why and isinstance(s, bytearray):
            s[BAD] = SILENT
        if cluster != OURS:
            return good or "cluster id" in self.broken
        return good or "revisions only grow" in self.broken

    def _look(self, s: bytes, who: int, base: int, out: Successors) -> None:
        after = bytearray(s)
        if not self._counts(after, base):
            after[base + SHOWN] = 0
            out.append(((LOOK_OLD, who), bytes(after)))
            return
        if s[REV] < s[base + SEEN_REV]:
            after[BAD] = PAST
        after[base + SEEN_REV] = max(s[base + SEEN_REV], s[REV])
        current = s[KEY] >= s[base + SEEN_TERM] or "terms only grow" in self.broken
        shown = s[KEY] if current else 0
        if shown and shown < s[base + SEEN_TERM]:
            after[BAD] = OLDER_SHOWN
        after[base + SHOWN] = shown
        after[base + SEEN_TERM] = max(s[base + SEEN_TERM], s[KEY])
        if s[KEY] != s[base + LEADS]:
            after[base + LEADS] = 0
        if bytes(after) != s:
            out.append(((LOOK, who), bytes(after)))

    def _win(self, s: bytes, who: int, base: int, out: Successors) -> None:
        if s[base + LEADS]:
            return
        after = bytearray(s)
        if s[KEY] == 0 and s[REV] < self.revisions:
            after[REV] += 1
            after[KEY], after[HOLDER] = after[REV], who + 1
            if not self._counts(after, base):
                out.append(((WIN_UNHEARD, who), bytes(after)))
                return
            self._leads(after, who, base, WIN, out)
        elif s[KEY] and s[HOLDER] == who + 1 and self._counts(after, base):
            self._leads(after, who, base, CLAIM, out)

    def _leads(self, after: bytearray, who: int, base: int, label: int, out: Successors) -> None:
        term = after[KEY]
        after[base + SEEN_REV] = max(after[base + SEEN_REV], after[REV])
        lower = term < after[base + SEEN_TERM]
        repeated = label == WIN and term == after[base + SEEN_TERM]
        if (lower and "terms only grow" not in self.broken) or (
            repeated and "terms never repeat" not in self.broken
        ):
            after[KEY] = after[HOLDER] = 0
            out.append(((BACK, who), bytes(after)))
            return
        if lower or repeated:
            after[BAD] = LOWER if lower else TWICE
        if self.everybody and term < after[LED]:
            after[BAD] = AGAIN
        after[base + LEADS] = after[base + SEEN_TERM] = after[base + SHOWN] = term
        after[LED] = max(after[LED], term)
        out.append(((label, who), bytes(after)))

    def _ask_foreign(self, s: bytes, who: int, base: int, out: Successors) -> None:
        after = bytearray(s)
        if self._counts(after, base, THEIRS):
            after[FOREIGN], after[BAD] = who + 1, OTHER
        out.append(((ALIEN, who), bytes(after)))

    def _etcd(self, s: bytes, out: Successors) -> None:
        if s[KEY]:
            after = bytearray(s)
            after[KEY] = after[HOLDER] = 0
            out.append(((END, 0), bytes(after)))
        if s[REV] < self.revisions:
            after = bytearray(s)
            after[REV] += 1
            out.append(((WRITE, 0), bytes(after)))
        if not s[COPY_REV]:
            after = bytearray(s)
            after[COPY_REV : COPY_HOLDER + 1] = s[REV : HOLDER + 1]
            out.append(((COPY, 0), bytes(after)))
        if s[COPY_REV] and not s[RESTORED]:
            for label, raised in ((RESTORE, 0), (RAISED, BUMP)):
                after = bytearray(s)
                after[REV : HOLDER + 1] = s[COPY_REV : COPY_HOLDER + 1]
                after[REV] = min(after[REV] + raised, 250)
                after[RESTORED] = 1
                out.append(((label, 0), bytes(after)))

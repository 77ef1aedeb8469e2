"""Writes of one key through lost answers, delayed requests and a change of the term.

What an attempt compares, and what an answer means, is asked of the product's own ``Write``. What is
modelled here is the order in which ``FencedStore`` uses it (send; after an unanswered attempt a
barrier; settle; before the next write to the same key the same), and a store that takes requests at
any later time, in any order, or never.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Final

from mgr.errors import ConflictError, FencedError, OutcomeUnknownError
from mgr.store.api import ABSENT, Created, Delete, Modified, Outcome, Put, Record, Revision
from mgr.store.attempt import Write, holds
from tests.model.checker import Label, Successors

BAD, TERM, REV, MOD, VALUE, ORDER, ACKED, DONE, DENIED, OPS, SENT, BARRIERS = range(12)
"""The verdict; the term that leads; the newest revision; the key: modify revision and value (0:
absent); the key ``order``; the newest acknowledged write; which were done, and which were said not
to have been (bits); how many writes, attempts and barriers there were."""
STAGE, KIND, KNOWN_MOD, KNOWN_VALUE, KNOWN_ORDER, UNANSWERED, DOUBT, UNSETTLED = range(12, 20)
"""The active's write: what it waits for, what it is to do, what it knows of the key and of
``order``; what an unanswered attempt of this write, or of one given up, compares ``order`` with
(plus 1; 0: there is none)."""
SLOTS: Final = 20
SLOT: Final = 5
"""An attempt or a barrier under way that nobody waits for: number of the write, kind, the known
revision of the key and of ``order``, term."""

IDLE, READY, WAITING, UNCLEAR = range(4)
PUT_X, PUT_Y, DELETE, BARRIER = 1, 2, 3, 4
WHAT: Final = ("", "put x", "put y", "delete", "barrier")
ACK, AGAIN, FENCED, UNKNOWN = range(4)

VIOLATIONS: Final = (
    "",
    "I3: an older write was done after a newer one was acknowledged",
    "a write was acknowledged and was never done",
    "a write was done of which it was said that it was not done and cannot be",
)
UNDONE, NEVER_DONE, DENIED_DONE = 1, 2, 3
PROTECTIONS: Final = {
    "term compare": "every write compares the create revision of the leader key",
    "barrier": "an unanswered attempt is made impossible before anything is sent again",
    "barrier before the next": "one of a write given up is made impossible before the next write",
}

KEY: Final = "key"
LEADER: Final = "leader"
ORDER_KEY: Final = "order"

BEGIN, SEND, HEARD, LOST, GIVE_UP, BAR, BAR_HEARD, BAR_LOST, ABANDON, DENY, ARRIVE, NEXT = range(12)
TEXTS: Final = (
    "the active is asked for write {ops}: {kind}",
    "the active sends write {op}: {kind}",
    "write {op} ({kind}) arrives, {became}, and the active hears it{acked}",
    "write {op} ({kind}) arrives, {became}; the answer is lost",
    "the active gives up waiting: write {op} ({kind}) is still under way",
    "the active sends a barrier",
    "the barrier arrives, and the active hears the answer{acked}",
    "the barrier arrives, and the answer is lost",
    "the active gives write {op} up: its outcome is unknown",
    "the active gives write {op} up: it was not done",
    "a delayed request arrives: {late}",
    "term 2 begins",
)


def _record(key: str, revision: int, value: int = 0) -> Record | None:
    if revision == ABSENT:
        return None
    return Record(key, WHAT[value], Revision(revision), Revision(revision))


def _write(kind: int, mod: int, value: int, term: int) -> Write:
    operation = Delete(KEY) if kind == DELETE else Put(KEY, WHAT[kind])
    known = {KEY: _record(KEY, mod, value)}
    return Write(KEY, (operation,), (), Created(LEADER, Revision(term)), ORDER_KEY, known)


@cache
def accepted(request: bytes, mod: int, order: int, leads: int, broken: frozenset[str]) -> bool:
    """Whether a store that stands so takes ``request``: a slot, without its number."""
    kind, known, compared, term = request
    if kind == BARRIER:
        compares = (Created(LEADER, Revision(term)), Modified(ORDER_KEY, Revision(compared)))
    else:
        compares = _write(kind, known, PUT_X, term).compares(Revision(compared))
    ignored = {LEADER} if "term compare" in broken else set()
    stands = {LEADER: leads, ORDER_KEY: order, KEY: mod}
    return all(
        holds(compare, _record(compare.key, stands[compare.key]))
        for compare in compares
        if compare.key not in ignored
    )


@cache
def judged(how: str, knows: bytes, now: bytes) -> tuple[int, int]:
    """What the real ``Write`` makes of a refusal: ``ACK`` and so on, and whether it doubts.

    ``how``: ``on_answer`` or ``settle``; ``knows``: revision and value of the key, kind, term,
    doubt; ``now``: revision and value of the key, ``order`` and the term that leads.
    """
    kind, mod, value, term, doubt = knows
    write = _write(kind, mod, value, term)
    write.doubtful = bool(doubt)
    now_mod, now_value, order, leads = now
    found = (_record(LEADER, leads), _record(ORDER_KEY, order), _record(KEY, now_mod, now_value))
    outcome = Outcome(succeeded=False, revision=Revision(99), found=found)
    try:
        done = getattr(write, how)(outcome)
    except FencedError:
        return FENCED, 0
    except (OutcomeUnknownError, ConflictError):
        return UNKNOWN, 0
    return (AGAIN if done is None else ACK), int(write.doubtful)


class Writes:
    """The model, with bounds on what may happen and with some protections taken out."""

    violations = VIOLATIONS

    def __init__(
        self, *broken: str, ops: int = 3, sent: int = 4, barriers: int = 3, slots: int = 2
    ) -> None:
        """Allow so many writes, attempts, barriers, and requests under way."""
        if set(broken) - PROTECTIONS.keys():
            raise ValueError(f"no such protection: {broken}")
        self.name = "writes: " + " ".join((f"{ops} writes, {sent} attempts", *broken))
        self.broken = frozenset(broken)
        self.ops, self.sent, self.barriers, self.slots = ops, sent, barriers, slots
        self._bases = range(SLOTS, SLOTS + SLOT * slots, SLOT)

    def initial(self) -> Iterable[bytes]:
        """Term 1 leads over an empty store."""
        state = bytearray(SLOTS + SLOT * self.slots)
        state[TERM], state[REV] = 1, 1
        return [bytes(state)]

    def canonical(self, state: bytes) -> bytes:
        """Sort the requests under way."""
        return state[:SLOTS] + b"".join(sorted([state[b : b + SLOT] for b in self._bases]))

    def successors(self, state: bytes) -> Successors:
        """Everything that may happen next."""
        out: Successors = []
        _STAGES[state[STAGE]](self, state, out)
        for number, base in enumerate(self._bases):
            if state[base + 1]:
                after = bytearray(state)
                request = state[base : base + SLOT]
                after[base : base + SLOT] = bytes(SLOT)
                self._arrives(after, request)
                out.append(((ARRIVE, number), bytes(after)))
        if state[TERM] == 1:
            after = bytearray(state)
            after[TERM], after[REV] = 2, state[REV] + 1
            after[STAGE : UNSETTLED + 1] = bytes(UNSETTLED + 1 - STAGE)
            self._learn(after)
            out.append(((NEXT, 0), bytes(after)))
        return out

    def describe(self, label: Label, before: bytes, after: bytes) -> str:
        """Say who did what."""
        action, number = label
        acked = f"; write {after[ACKED]} is acknowledged" if after[ACKED] > before[ACKED] else ""
        base = SLOTS + SLOT * number
        late = (
            ""
            if action != ARRIVE
            else (
                f"{WHAT[before[base + 1]]} of write {before[base]}, of term {before[base + 4]}; "
                f"it is {'done' if after[REV] > before[REV] else 'refused'}"
            )
        )
        return TEXTS[action].format(
            ops=after[OPS],
            op=before[OPS],
            kind=WHAT[before[KIND] or after[KIND]],
            became="is done" if after[REV] > before[REV] else "is refused",
            acked=acked,
            late=late,
        )

    # -- the active -------------------------------------------------------------------------------

    def _idle(self, s: bytes, out: Successors) -> None:
        if s[OPS] == self.ops:
            return
        if s[UNSETTLED] and "barrier before the next" not in self.broken:
            self._bar(s, s[UNSETTLED], out)
            return
        for kind in (PUT_X, PUT_Y, DELETE):
            after = bytearray(s)
            after[OPS] += 1
            after[STAGE], after[KIND], after[DOUBT] = READY, kind, 0
            out.append(((BEGIN, 0), bytes(after)))

    def _ready(self, s: bytes, out: Successors) -> None:
        if s[SENT] < self.sent:
            after = bytearray(s)
            after[SENT] += 1
            after[STAGE] = WAITING
            out.append(((SEND, 0), bytes(after)))
        self._leave(s, out)

    def _waiting(self, s: bytes, out: Successors) -> None:
        request = bytes((s[OPS], s[KIND], s[KNOWN_MOD], s[KNOWN_ORDER], s[TERM]))
        heard = bytearray(s)
        if self._arrives(heard, request):
            self._acknowledge(heard)
        else:
            self._judge(heard, "on_answer" if not s[UNANSWERED] else "settle")
        out.append(((HEARD, 0), bytes(heard)))
        lost = bytearray(s)
        self._arrives(lost, request)
        lost[STAGE], lost[UNANSWERED] = UNCLEAR, s[KNOWN_ORDER] + 1
        out.append(((LOST, 0), bytes(lost)))
        for base in self._bases:
            if not s[base + 1]:
                after = bytearray(s)
                after[base : base + SLOT] = request
                after[STAGE], after[UNANSWERED] = UNCLEAR, s[KNOWN_ORDER] + 1
                out.append(((GIVE_UP, 0), bytes(after)))
                break

    def _unclear(self, s: bytes, out: Successors) -> None:
        if "barrier" in self.broken:
            self._ready(s, out)
            return
        self._bar(s, s[UNANSWERED], out)
        self._leave(s, out)

    def _bar(self, s: bytes, compared: int, out: Successors) -> None:
        """Send a barrier; it is heard, its answer is lost, or it is still under way."""
        if s[BARRIERS] == self.barriers:
            return
        request = bytes((0, BARRIER, 0, compared - 1, s[TERM]))
        lost = bytearray(s)
        lost[BARRIERS] += 1
        heard = bytearray(lost)
        self._arrives(lost, request)
        out.append(((BAR_LOST, 0), bytes(lost)))
        if self._arrives(heard, request):
            heard[KNOWN_ORDER] = heard[ORDER]
        elif s[STAGE] == IDLE:
            heard[UNSETTLED], heard[KNOWN_ORDER] = 0, heard[ORDER]
        else:
            self._judge(heard, "settle")
        out.append(((BAR_HEARD, 0), bytes(heard)))
        for base in self._bases:
            if not s[base + 1]:
                after = bytearray(s)
                after[BARRIERS] += 1
                after[base : base + SLOT] = request
                out.append(((BAR, 0), bytes(after)))
                break

    def _judge(self, after: bytearray, how: str) -> None:
        knows = bytes((*after[KIND : KNOWN_VALUE + 1], after[TERM], after[DOUBT]))
        now = bytes((after[MOD], after[VALUE], after[ORDER], after[TERM]))
        verdict, after[DOUBT] = judged(how, knows, now)
        after[UNANSWERED] = 0
        if verdict == ACK:
            self._acknowledge(after)
        elif verdict == AGAIN:
            after[STAGE] = READY
        else:
            after[STAGE], after[KIND] = IDLE, 0
        self._learn(after)

    def _learn(self, after: bytearray) -> None:
        after[KNOWN_MOD], after[KNOWN_VALUE] = after[MOD], after[VALUE]
        after[KNOWN_ORDER] = after[ORDER]

    def _acknowledge(self, after: bytearray) -> None:
        if not after[DONE] >> after[OPS] & 1:
            after[BAD] = NEVER_DONE
        after[ACKED] = after[OPS]
        after[STAGE] = after[KIND] = after[UNANSWERED] = after[DOUBT] = 0
        self._learn(after)

    def _leave(self, s: bytes, out: Successors) -> None:
        """The time for this write is over."""
        after = bytearray(s)
        unknown = s[UNANSWERED] or s[DOUBT]
        if unknown:
            after[UNSETTLED] = max(s[UNSETTLED], s[UNANSWERED])
        else:
            after[DENIED] |= 1 << s[OPS]
            if s[DONE] >> s[OPS] & 1:
                after[BAD] = DENIED_DONE
        after[STAGE] = after[KIND] = after[UNANSWERED] = after[DOUBT] = 0
        out.append(((ABANDON if unknown else DENY, 0), bytes(after)))

    # -- the store --------------------------------------------------------------------------------

    def _arrives(self, after: bytearray, request: bytes) -> bool:
        """Judge ``request`` by what stands there now, and do it if it is accepted."""
        number, kind = request[0], request[1]
        if not accepted(request[1:], after[MOD], after[ORDER], after[TERM], self.broken):
            return False
        after[REV] += 1
        if kind == BARRIER:
            after[ORDER] = after[REV]
            return True
        gone = kind == DELETE
        after[MOD], after[VALUE] = (0, 0) if gone else (after[REV], kind)
        after[DONE] |= 1 << number
        if after[ACKED] > number:
            after[BAD] = UNDONE
        elif after[DENIED] >> number & 1:
            after[BAD] = DENIED_DONE
        return True


_STAGES: Final = (Writes._idle, Writes._ready, Writes._waiting, Writes._unclear)

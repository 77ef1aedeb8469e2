"""One mutating command with a request id: its client, its attempts, and the journals of two terms.

What a journal says about earlier attempts is asked of the product's own ``Journal``. What is
modelled here is the dispatcher's order (lookup, admission, *started*, run, *done*), a client that
retries, and everything that can be late, lost or refused in between.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Final

from mgr.command.answer import Answer
from mgr.command.evicted import EvictedRequests
from mgr.command.journal import AGE_MAX_S, NO_ATTEMPT, Done, Journal, Started, _encoded, _Outcome
from mgr.errors import MayHaveRunError
from mgr.store.api import LeaseId, Record, Revision
from mgr.store.keys import Keys
from tests.model.checker import Label, Successors

BAD, TERM, ENTRY, ENTRY_TERM, EVICTED, OLD, APPLIED, STRAY = range(8)
"""The verdict; the term that leads; the journal's entry: 0 none, 1 started, 2 done, and of which
term; whether its id is among the evicted ones; whether the request is older than what is known; how
often the command was applied; the term of a *started* that is still on its way."""
FATE, TASK, CALLERS = (0, 8, 9), (0, 10, 11), (0, 12, 13)
"""By term: what its worker remembers (1: never ran, 2: the answer); how far its attempt is; which
attempts wait for it (bits)."""
CLIENT, UNCLEAR, VERDICT, SENT, IN_FLIGHT = range(14, 19)
"""The client: 0 about to send, 1 waits for its newest attempt, 2 is done; whether an attempt was
left without an answer; what it reports; how many attempts were sent, and which are on their way."""
SIZE: Final = 19

NO_TASK, HELD, STARTED, RAN = range(4)
OK, NOTHING_RAN, UNKNOWN = 1, 2, 3
ANSWER, UNCLEAR_TERM, NEVER, REFUSED = range(4)
REPORTS: Final = ("", "it is done", "nothing ran", "outcome unknown")

VIOLATIONS: Final = (
    "",
    "I4: the command was applied twice",
    "I4: the client reported that nothing ran, and the command was applied",
    "I4: an active answered that nothing ran, and the command had been applied",
    "the client reported success, and the command was never applied",
)
TWICE, FALSE_REPORT, FALSE_ANSWER, FALSE_SUCCESS = 1, 2, 3, 4
PROTECTIONS: Final = {
    "started first": "the start is recorded before the command runs",
    "lookup before admission": "the journal is looked up before anything can refuse",
    "eviction leaves a mark": "the id of an evicted result is kept, and refused",
    "old requests are refused": "a request older than what the journal knows is not run",
    "unclear is sticky": "a client that lost an attempt does not believe a later refusal",
}

KEYS: Final = Keys("model")
ID: Final = "id"
DIGEST: Final = "digest"

TEXTS: Final[list[str]] = []


def _label(text: str) -> int:
    TEXTS.append(text)
    return len(TEXTS) - 1


SEND = _label("the client sends attempt {sent}")
TIMEOUT = _label("the client gives attempt {sent} up without an answer")
REPORT = _label('the client reports "{report}"')
STANDBY = _label("attempt {number} reaches a standby, which refuses it: not active")
STANDBY_LOST = _label("attempt {number} is lost on its way")
LOOKED = _label("attempt {number} reaches the active of term {term}, which looks it up: {task}")
REFUSE = _label("the active of term {term} refuses it at admission: nothing ran")
BEGUN = _label('the active of term {term} records "started"')
NOT_BEGUN = _label('the active of term {term} gets no answer to "started": it does not run it')
FENCED = _label('the active of term {term} finds its term over at "started": nothing ran')
FOUND = _label("the active of term {term} finds an earlier attempt when it records the start")
RUN = _label("the active of term {term} runs the command")
NOT_RUN = _label(
    "the module of term {term} refuses it before it begins, and the start is forgotten"
)
DONE = _label('the active of term {term} records "done" and answers')
NOT_DONE = _label('the active of term {term} cannot record "done"')
CANCEL = _label("the active of term {term} drops the held command: nobody waits for it")
LANDS = _label('the delayed "started" of term {stray} arrives')
EVICT = _label("the result is evicted")
EXPIRE = _label("the entry expires; the request is old by now")
NEXT = _label("term 2 begins")


class Mirror:
    """Shows one journal entry and one record of evicted ids, if they are there."""

    def __init__(self, entry: int, term: int, *, evicted: bool) -> None:
        what: Started | Done = (
            Started(term=term, digest=DIGEST)
            if entry == 1
            else Done(term=term, digest=DIGEST, retval=0, stdout="", stderr="")
        )
        key = KEYS.request(ID)
        value = _encoded(what)
        self._entry = Record(key, value, Revision(1), Revision(1)) if entry else None
        mark = EvictedRequests(self, KEYS, term=1).record([ID], LeaseId(1))
        self._marks = {mark.key: Record(mark.key, mark.value, Revision(1), Revision(1))}
        if not evicted:
            self._marks = {}

    def get(self, key):
        return self._entry if key == KEYS.request(ID) else self._marks.get(key)

    def list(self, _prefix):
        return self._marks

    def subscribe(self, _prefix, _callback):
        return lambda: None


@cache
def earlier(entry: int, of: int, term: int, fate: int, marks: int) -> int:
    """Ask the real journal of ``term``: ``ANSWER``, ``UNCLEAR_TERM``, ``NEVER`` or ``REFUSED``.

    ``marks``: 1 if the id is among the evicted ones, plus 2 if the request is old.
    """
    mirror = Mirror(entry, of, evicted=bool(marks & 1))
    journal = Journal(None, KEYS, mirror, None, term=term, clock=None)
    if fate:
        journal._set_local_outcome(ID, (None, _Outcome.NEVER_RAN, Answer(0, "", "", 1))[fate])
    try:
        found = journal.earlier_attempts(ID, DIGEST, age_s=AGE_MAX_S + 1.0 if marks & 2 else 0.0)
    except MayHaveRunError:
        return REFUSED
    if found.answer is not None:
        return ANSWER
    return NEVER if found == NO_ATTEMPT else UNCLEAR_TERM


class Journals:
    """The model, with some protections taken out."""

    violations = VIOLATIONS

    def __init__(self, *broken: str, attempts: int = 3) -> None:
        """Let the client send so many attempts."""
        if set(broken) - PROTECTIONS.keys():
            raise ValueError(f"no such protection: {broken}")
        self.name = "journal: " + " ".join((f"{attempts} attempts", *broken))
        self.broken = frozenset(broken)
        self.attempts = attempts

    def initial(self) -> Iterable[bytes]:
        """Term 1 leads; nothing was sent."""
        state = bytearray(SIZE)
        state[TERM] = 1
        return [bytes(state)]

    def canonical(self, state: bytes) -> bytes:
        """Return it as it is: nothing here differs by name only."""
        return state

    def successors(self, state: bytes) -> Successors:
        """Everything that may happen next."""
        out: Successors = []
        self._client(state, out)
        for number in range(1, state[SENT] + 1):
            if state[IN_FLIGHT] >> number & 1:
                self._arrive(state, number, out)
        for term in (1, 2):
            if state[TASK[term]]:
                _TASKS[state[TASK[term]]](self, state, term, out)
        self._world(state, out)
        return out

    def describe(self, label: Label, before: bytes, after: bytes) -> str:
        """Say who did what."""
        action, number = label
        line = TEXTS[action].format(
            number=number,
            term=before[TERM] if action == LOOKED else number,
            sent=after[SENT],
            report=REPORTS[after[VERDICT]],
            stray=before[STRAY],
            task="unknown, it is held"
            if after != before and after[TASK[1]] + after[TASK[2]]
            else "an earlier attempt is known",
        )
        if action != REPORT and after[VERDICT] != before[VERDICT]:
            line += f'; the client reports "{REPORTS[after[VERDICT]]}"'
        elif before[CLIENT] == 1 and after[CLIENT] == 0 and action != TIMEOUT:
            line += "; the client hears it and may retry"
        return line

    # -- the client -------------------------------------------------------------------------------

    def _client(self, s: bytes, out: Successors) -> None:
        if s[CLIENT] == 0 and s[SENT] < self.attempts:
            after = bytearray(s)
            after[SENT] += 1
            after[IN_FLIGHT] |= 1 << after[SENT]
            after[CLIENT] = 1
            out.append(((SEND, 0), bytes(after)))
        if s[CLIENT] == 1:
            after = bytearray(s)
            after[CLIENT], after[UNCLEAR] = 0, 1
            out.append(((TIMEOUT, 0), bytes(after)))
        if s[CLIENT] == 0 and s[SENT]:
            after = bytearray(s)
            unclear = s[UNCLEAR] and "unclear is sticky" not in self.broken
            self._report(after, UNKNOWN if unclear or s[UNCLEAR] else NOTHING_RAN)
            out.append(((REPORT, 0), bytes(after)))

    def _report(self, after: bytearray, verdict: int) -> None:
        after[CLIENT], after[VERDICT] = 2, verdict
        if verdict == NOTHING_RAN and after[APPLIED]:
            after[BAD] = FALSE_REPORT
        if verdict == OK and not after[APPLIED]:
            after[BAD] = FALSE_SUCCESS

    def _reply(self, s: bytearray, callers: int, reply: int, label: Label, out: Successors) -> None:
        """Answer whoever waits: nobody hears it, or the client does and believes it or not."""
        out.append((label, bytes(s)))
        if s[CLIENT] != 1 or not callers >> s[SENT] & 1:
            return
        heard = bytearray(s)
        if reply != NOTHING_RAN:
            self._report(heard, reply)
        elif s[UNCLEAR] and "unclear is sticky" not in self.broken:
            self._report(heard, UNKNOWN)
        elif s[SENT] < self.attempts:
            heard[CLIENT] = 0
            self._hears_refusal(s, label, out)
        else:
            self._report(heard, NOTHING_RAN)
        out.append((label, bytes(heard)))

    def _hears_refusal(self, s: bytes | bytearray, label: Label, out: Successors) -> None:
        """A client need not retry: it may be out of time."""
        heard = bytearray(s)
        self._report(heard, NOTHING_RAN)
        out.append((label, bytes(heard)))

    # -- a manager --------------------------------------------------------------------------------

    def _arrive(self, s: bytes, number: int, out: Successors) -> None:
        after = bytearray(s)
        after[IN_FLIGHT] &= ~(1 << number)
        out.append(((STANDBY_LOST, number), bytes(after)))
        self._reply(after, 1 << number, NOTHING_RAN, (STANDBY, number), out)
        term = s[TERM]
        if s[TASK[term]]:
            joined = bytearray(after)
            joined[CALLERS[term]] |= 1 << number
            out.append(((LOOKED, number), bytes(joined)))
            return
        found = NEVER if "lookup before admission" in self.broken else self._earlier(s, term)
        if found == NEVER:
            after[TASK[term]], after[CALLERS[term]] = HELD, 1 << number
            out.append(((LOOKED, number), bytes(after)))
        else:
            reply = OK if found == ANSWER else UNKNOWN
            self._reply(after, 1 << number, reply, (LOOKED, number), out)

    def _earlier(self, s: bytes | bytearray, term: int) -> int:
        old = s[OLD] and "old requests are refused" not in self.broken
        marks = s[EVICTED] + 2 * bool(old)
        return earlier(s[ENTRY], s[ENTRY_TERM], term, s[FATE[term]], marks)

    def _end(self, after: bytearray, term: int, reply: int, action: int, out: Successors) -> None:
        callers = after[CALLERS[term]]
        after[TASK[term]] = after[CALLERS[term]] = 0
        # Of one whose term is over, as of a standby, it is said of this attempt only.
        if reply == NOTHING_RAN and after[APPLIED] and after[TERM] == term:
            after[BAD] = FALSE_ANSWER
        self._reply(after, callers, reply, (action, term), out)

    def _held(self, s: bytes, term: int, out: Successors) -> None:
        self._end(bytearray(s), term, NOTHING_RAN, REFUSE, out)
        if not (s[CLIENT] == 1 and s[CALLERS[term]] >> s[SENT] & 1):
            dropped = bytearray(s)
            dropped[TASK[term]] = dropped[CALLERS[term]] = 0
            out.append(((CANCEL, term), bytes(dropped)))
        found = self._earlier(s, term)
        if found != NEVER:
            self._end(bytearray(s), term, OK if found == ANSWER else UNKNOWN, FOUND, out)
            return
        if s[TERM] != term:
            self._end(bytearray(s), term, NOTHING_RAN, FENCED, out)
            return
        begun = bytearray(s)
        begun[TASK[term]], begun[FATE[term]] = STARTED, 0
        # A "started" left on its way was made impossible before this one was sent.
        begun[STRAY] = 0 if s[STRAY] == term else s[STRAY]
        unanswered = bytearray(begun)
        if "started first" not in self.broken:
            begun[ENTRY], begun[ENTRY_TERM] = 1, term
        out.append(((BEGUN, term), bytes(begun)))
        unanswered[FATE[term]] = 1
        written, delayed = bytearray(unanswered), bytearray(unanswered)
        written[ENTRY], written[ENTRY_TERM] = 1, term
        delayed[STRAY] = term
        for after in (written, delayed):
            self._end(after, term, NOTHING_RAN, NOT_BEGUN, out)

    def _started(self, s: bytes, term: int, out: Successors) -> None:
        after = bytearray(s)
        after[TASK[term]] = RAN
        after[APPLIED] += 1
        if after[APPLIED] > 1:
            after[BAD] = TWICE
        elif s[VERDICT] == NOTHING_RAN:
            after[BAD] = FALSE_REPORT
        out.append(((RUN, term), bytes(after)))
        for forgotten in (True, False):
            after = bytearray(s)
            after[FATE[term]] = 1
            if forgotten and s[TERM] == term:
                after[ENTRY] = after[ENTRY_TERM] = 0
            self._end(after, term, NOTHING_RAN, NOT_RUN, out)

    def _ran(self, s: bytes, term: int, out: Successors) -> None:
        if s[TERM] == term:
            after = bytearray(s)
            after[ENTRY], after[ENTRY_TERM] = 2, term
            self._end(after, term, OK, DONE, out)
        after = bytearray(s)
        after[FATE[term]] = 2
        for reply in (OK, UNKNOWN):
            self._end(bytearray(after), term, reply, NOT_DONE, out)

    # -- around them ------------------------------------------------------------------------------

    def _world(self, s: bytes, out: Successors) -> None:
        if s[TERM] == 1:
            after = bytearray(s)
            after[TERM] = 2
            out.append(((NEXT, 0), bytes(after)))
        if s[STRAY]:
            after = bytearray(s)
            after[STRAY] = 0
            if s[STRAY] == s[TERM] and not s[ENTRY]:
                after[ENTRY], after[ENTRY_TERM] = 1, s[STRAY]
            out.append(((LANDS, 0), bytes(after)))
        if s[ENTRY] == 2:
            after = bytearray(s)
            after[ENTRY] = after[ENTRY_TERM] = 0
            after[EVICTED] = int("eviction leaves a mark" not in self.broken)
            out.append(((EVICT, 0), bytes(after)))
        # Within ten minutes whatever was on its way has arrived or never will.
        busy = s[IN_FLIGHT] or s[STRAY] or s[TASK[1]] or s[TASK[2]]
        if (s[ENTRY] or s[EVICTED]) and not busy and not s[OLD]:
            after = bytearray(s)
            after[ENTRY] = after[ENTRY_TERM] = after[EVICTED] = 0
            after[FATE[1]] = after[FATE[2]] = 0
            after[OLD] = 1
            out.append(((EXPIRE, 0), bytes(after)))


_TASKS: Final = (None, Journals._held, Journals._started, Journals._ran)

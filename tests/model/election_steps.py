"""Every step of the election model but the passing of time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from mgr.election import machine
from mgr.election.machine import Action, Event, Phase
from tests.model import election_words as words
from tests.model.checker import Successors
from tests.model.derived import ACTIONS, EVENTS, NO_RECORD, OPEN, QUIESCED, UNREADABLE
from tests.model.election_state import (
    ABANDONED,
    ACTED,
    BAD,
    DONE,
    HELPER,
    IN_FLIGHT,
    KEY,
    KIND,
    LATE,
    MODULE,
    NEWEST,
    OF,
    REFUSED,
    STANDBY,
    STOPPED,
    WINDOW_LEFT,
    A,
    B,
    D,
    E,
    G,
    L,
    P,
    Q,
    R,
    S,
    T,
    V,
    W,
)

if TYPE_CHECKING:
    from tests.model.election import Election, Scope

KILL: Final = ACTIONS.index(Action.KILL)
ENDS_IN_TIME: Final = frozenset(
    {ACTIONS.index(Action.SHUT_DOWN), ACTIONS.index(Action.EXIT_AFTER_HANDOVER)}
)
"""The worker is asked to end, and does so at some later time or is killed then."""
ON: Final = {event: EVENTS.index(event) for event in Event}
CLOCKS, PAUSED = -1, -2

Step = Callable[["Election", bytes, int, int, Successors], None]
WorldStep = Callable[["Election", bytes, Successors], None]


# -- what several steps do --------------------------------------------------------------------


def end_worker(state: bytearray, base: int) -> None:
    """Kill the worker; what it started lives until the reaper has ended it too."""
    state[base + W] = 0
    state[base + B] &= HELPER


def _moved(m: Election, state: bytearray, but: int = -1) -> None:
    """Let every standby see, at its next look, that something of the leader moved."""
    for base in m.bases:
        if base != but and state[base + P] == STANDBY:
            state[base + L], state[base + G], state[base + V] = 0, 0, 1


def _vacate(m: Election, state: bytearray) -> None:
    state[KEY] = 0
    _moved(m, state)
    for base in m.bases:
        if state[base + P] == STANDBY and state[base + R] != DONE:
            state[base + T] = 0


def _record(state: bytearray, kind: int, term: int, window: int) -> None:
    state[KIND], state[OF], state[WINDOW_LEFT] = kind, term, window


def _may_act(m: Election, state: bytes, term: int) -> bool:
    """Whether something of ``term`` or an earlier one can still act outside."""
    return any(state[base + B] and state[base + T] <= term for base in m.bases)


def _believes(m: Election, s: bytes) -> bool:
    """Whether the holder of the key may act, now or as soon as it hears an answer."""
    return any(
        s[o + T] == s[KEY] and (s[o + D] or (s[o + R] == DONE and _proof(m, s[o + A])))
        for o in m.bases
    )


def _forget_term(state: bytearray, base: int) -> None:
    for field in (T, D, E, S, R, A):
        state[base + field] = 0


def _after_event(m: Election, s: bytes, base: int, event: Event) -> bytearray:
    after = bytearray(s)
    m.on(after, base, ON[event])
    return after


# -- a standby --------------------------------------------------------------------------------


def campaign(m: Election, s: bytes, i: int, o: int, out: Successors) -> None:
    """Send an attempt, let it arrive, hear of it, or give it up; claim a key found to be ours."""
    stage = s[o + R]
    after = bytearray(s)
    if stage == 0:
        if s[KEY] == 0 and s[NEWEST] < m.scope.terms and s[o + P] == STANDBY:
            after[o + R], after[o + A] = IN_FLIGHT, 0
            out.append(((words.CAMPAIGN, i), bytes(after)))
        elif s[KEY] and s[KEY] == s[o + T]:
            after[o + R], after[o + A] = DONE, 0
            _moved(m, after, o)
            out.append(((words.CLAIM, i), bytes(after)))
        return
    if stage == IN_FLIGHT:
        vacant = s[KEY] == 0 and s[NEWEST] < m.scope.terms
        if vacant:
            after[NEWEST] += 1
            after[KEY] = after[o + T] = after[NEWEST]
            _moved(m, after)
        after[o + R] = DONE if vacant else REFUSED
        out.append(((words.TAKEN if vacant else words.TOO_LATE, i), bytes(after)))
    elif stage == DONE:
        _won(m, after, o)
        out.append(((words.HEARS, i), bytes(after)))
    else:
        after[o + R] = after[o + A] = 0
        out.append(((words.REFUSAL, i), bytes(after)))
    lost = bytearray(s)
    lost[o + R] = lost[o + A] = 0
    if s[KEY] != s[o + T]:
        lost[o + T] = 0
    out.append(((words.LOSES, i), bytes(lost)))


def _won(m: Election, after: bytearray, o: int) -> None:
    after[o + D] = _proof(m, after[o + A])
    after[o + E] = after[o + S] = after[o + R] = after[o + A] = 0
    after[o + L], after[o + G], after[o + V] = 0, 0, 1
    m.on(after, o, ON[Event.WON])


def _proof(m: Election, age: int) -> int:
    return m.spans.proof[0 if "deadline from sending" in m.broken else age]


def poll(m: Election, s: bytes, i: int, o: int, out: Successors) -> None:
    """Look at the leader's heartbeat; depose it if the silence has lasted long enough."""
    if s[KEY] == 0 or s[KEY] == s[o + T]:
        return
    after = bytearray(s)
    after[o + L] = 0 if s[o + V] else m.spans.look[s[o + L]][s[o + G]]
    after[o + G] = after[o + V] = 0
    if after != s:
        out.append(((words.LOOK, i), bytes(after)))
    if not s[o + V] and m.spans.over[s[o + L]]:
        after = bytearray(s)
        legible = s[KIND] in {OPEN, QUIESCED}
        window = m.spans.left[s[WINDOW_LEFT] if legible else m.spans.out][s[o + L]]
        _record(after, OPEN, s[KEY], 0 if "hand-me-down" in m.broken else window)
        _vacate(m, after)
        if not m.scope.pause and _believes(m, s):
            after[BAD] = words.EARLY
        out.append(((words.DEPOSE, i), bytes(after)))


# -- a guard that holds a term ------------------------------------------------------------------


def sign(m: Election, s: bytes, i: int, o: int, out: Successors) -> None:
    """Open the record of the term; the worker is told its term."""
    if s[o + S]:
        return
    after = bytearray(s)
    if s[KEY] != s[o + T]:
        m.on(after, o, ON[Event.LOST])
        out.append(((words.LOSS, i), bytes(after)))
        return
    wait, kind, window = m.spans.sign[s[KIND], s[WINDOW_LEFT]]
    if "second gate" in m.broken or (
        s[KIND] == UNREADABLE and "unreadable is a full wait" in m.broken
    ):
        wait = 0
    _record(after, kind, s[o + T], window)
    after[o + S], after[o + E] = 1, max(0, wait - s[o + E])
    after[o + W] = 2
    out.append(((words.SIGN, i), bytes(after)))


def leader_heartbeat(m: Election, s: bytes, i: int, o: int, out: Successors) -> None:
    """Send a heartbeat, let it arrive, hear of it, or give it up."""
    stage = s[o + R]
    after = bytearray(s)
    if stage == 0:
        if s[o + W]:
            after[o + R], after[o + A] = IN_FLIGHT, 0
            out.append(((words.HEARTBEAT, i), bytes(after)))
        return
    if stage == IN_FLIGHT:
        holds = s[KEY] == s[o + T]
        if holds:
            _moved(m, after, o)
        after[o + R] = DONE if holds else REFUSED
        out.append(
            ((words.HEARTBEAT_WRITTEN if holds else words.HEARTBEAT_REFUSED, i), bytes(after))
        )
    elif stage == DONE:
        after[o + R] = after[o + A] = 0
        left = _proof(m, s[o + A])
        if left:
            after[o + D] = max(s[o + D], left)
            m.on(after, o, ON[Event.TERM_CONFIRMED])
        out.append(((words.HEARS, i), bytes(after)))
    else:
        after[o + R] = after[o + A] = 0
        m.on(after, o, ON[Event.LOST])
        out.append(((words.LOSS, i), bytes(after)))
    if stage != REFUSED:
        lost = bytearray(s)
        lost[o + R] = lost[o + A] = 0
        out.append(((words.LOSES, i), bytes(lost)))


def alarms(m: Election, s: bytes, i: int, o: int, out: Successors) -> None:
    """Notice that the deadline is over, or that the key is another one."""
    if s[o + D] == 0:
        after = _after_event(m, s, o, Event.DEADLINE)
        if after != s:
            out.append(((words.PASSED, i), bytes(after)))
    if s[KEY] != s[o + T] and s[o + S]:
        out.append(((words.LOSS, i), bytes(_after_event(m, s, o, Event.LOST))))


def started(m: Election, s: bytes, i: int, o: int, out: Successors) -> None:
    """The modules are constructed, or their time is up."""
    if s[o + W] == 2:
        out.append(((words.READY, i), bytes(_after_event(m, s, o, Event.STARTED))))


def stop(m: Election, s: bytes, i: int, o: int, out: Successors) -> None:
    """An operator ends the manager: in good order, or at once."""
    for label, event in ((words.STOP, Event.STOP), (words.STOP_NOW, Event.STOP_NOW)):
        after = _after_event(m, s, o, event)
        if after != s:
            out.append(((label, i), bytes(after)))


def give_up(m: Election, s: bytes, i: int, o: int, out: Successors) -> None:
    """A manager that stops gets no answer to its release."""
    out.append(((words.GIVES_UP, i), bytes(_after_event(m, s, o, Event.RELEASE_GIVEN_UP))))


def judge(m: Election, s: bytes, i: int, o: int, out: Successors) -> None:
    """The manager is found not to be eligible, or eligible again."""
    event = Event.INELIGIBLE if s[o + P] == STANDBY else Event.ELIGIBLE
    after = _after_event(m, s, o, event)
    after[o + L], after[o + G], after[o + V] = 0, 0, 1
    out.append(
        ((words.INELIGIBLE if event is Event.INELIGIBLE else words.ELIGIBLE, i), bytes(after))
    )


def lose_lease(m: Election, s: bytes, i: int, o: int, out: Successors) -> None:
    """A manager that waits finds its lease gone, and with it any key that hangs on it."""
    if s[KEY] and s[KEY] == s[o + T]:
        return
    after = _after_event(m, s, o, Event.LOST)
    after[o + L], after[o + G], after[o + V] = 0, 0, 1
    out.append(((words.LEASE, i), bytes(after)))


def resign(m: Election, s: bytes, i: int, o: int, out: Successors) -> None:
    """An operator wants another active."""
    out.append(((words.RESIGN, i), bytes(_after_event(m, s, o, Event.RESIGN))))


def drain(m: Election, s: bytes, i: int, o: int, out: Successors) -> None:
    """The worker stops its modules and says that nothing is left, or does not get there."""
    alive = s[o + B] & HELPER
    if "abandoned threads count" not in m.broken:
        alive |= s[o + B] & ABANDONED
    if not s[o + S] or (s[o + W] == 2 and not alive):
        after = bytearray(s)
        after[o + B] &= ~MODULE
        m.on(after, o, ON[Event.DRAINED])
        out.append(((words.DRAINED, i), bytes(after)))
    if s[o + S]:
        out.append(((words.OVERDUE, i), bytes(_after_event(m, s, o, Event.OVERDUE))))


def release(m: Election, s: bytes, i: int, o: int, out: Successors) -> None:
    """Delete the key and write how the term ended, in one transaction; sent until answered."""
    after = bytearray(s)
    held = s[KEY] == s[o + T]
    if held:
        _vacate(m, after)
        if s[o + S]:
            left = 0 if "hand-me-down" in m.broken else s[o + E]
            kind, window = m.spans.release[left]
            _record(after, kind, s[o + T], window)
            if kind == QUIESCED and _may_act(m, s, s[o + T]):
                after[BAD] = words.ALIVE
    m.on(after, o, ON[Event.RELEASED])
    if not after[o + B] and not after[o + W]:
        _forget_term(after, o)
    out.append(((words.RELEASE if held else words.RELEASED, i), bytes(after)))


def recover(m: Election, s: bytes, i: int, o: int, out: Successors) -> None:
    """Join again, with a clean worker."""
    if s[o + B] or s[o + W]:
        return
    after = bytearray(s)
    _forget_term(after, o)
    after[o + W], after[o + L], after[o + G], after[o + V] = 1, 0, 0, 1
    m.on(after, o, ON[Event.JOINED])
    m.on(after, o, ON[Event.READY])
    out.append(((words.RECOVER, i), bytes(after)))


# -- a worker and what it started ---------------------------------------------------------------


def begin(m: Election, s: bytes, i: int, o: int, out: Successors) -> None:
    """Start a module that acts outside: past both gates, and while the deadline is ahead."""
    if s[o + W] == 2 and s[o + S] and not s[o + E] and s[o + D] and not s[o + B] & MODULE:
        after = bytearray(s)
        after[o + B] |= MODULE
        out.append(((words.BEGIN, i), bytes(after)))


def spawn(m: Election, s: bytes, i: int, o: int, out: Successors) -> None:
    """A module starts a process that may outlive it."""
    if s[o + B] & MODULE and not s[o + B] & HELPER:
        after = bytearray(s)
        after[o + B] |= HELPER
        out.append(((words.SPAWN, i), bytes(after)))


def reload(m: Election, s: bytes, i: int, o: int, out: Successors) -> None:
    """A module is replaced in place; the thread of its old instance goes on."""
    if s[o + B] & MODULE and s[o + W] == 2 and not s[o + B] & ABANDONED:
        after = bytearray(s)
        after[o + B] |= ABANDONED
        out.append(((words.RELOAD, i), bytes(after)))


def act(m: Election, s: bytes, i: int, o: int, out: Successors) -> None:
    """Whatever lives acts: it asks nobody."""
    term = s[o + T]
    if not s[o + B]:
        return
    after = bytearray(s)
    if s[KIND] == QUIESCED and s[OF] >= term:
        after[BAD] = words.ALIVE
    if s[ACTED] > term and s[LATE] >= m.scope.late:
        after[BAD] = words.INTERLEAVED
    if s[ACTED] < term:
        after[ACTED], after[LATE] = term, 0
    if after != s:
        out.append(((words.ACT, i), bytes(after)))


def die(m: Election, s: bytes, i: int, o: int, out: Successors) -> None:
    """The worker ends: of itself, by a fault, or since it was asked to."""
    if s[o + W] == 3 or (m.scope.crashes and s[o + W] == 2):
        after = bytearray(s)
        end_worker(after, o)
        out.append(((words.DIES, i), bytes(after)))


def reap(m: Election, s: bytes, i: int, o: int, out: Successors) -> None:
    """The guard learns that there is no worker; by then nothing that it started lives."""
    if s[o + W]:
        return
    after = bytearray(s)
    if "helpers end too" not in m.broken:
        after[o + B] = 0
    m.on(after, o, ON[Event.WORKER_EXITED])
    after[o + R] = after[o + A] = 0
    if not after[o + B]:
        after[o + D] = 0
    out.append(((words.WORKER_EXITED, i), bytes(after)))


def write(m: Election, s: bytes, i: int, o: int, out: Successors) -> None:
    """Send a write, or let one arrive that was under way for however long."""
    after = bytearray(s)
    if s[o + Q]:
        accepted = s[KEY] == s[o + Q] or "term compare" in m.broken
        if accepted and s[o + Q] < s[NEWEST]:
            after[BAD] = words.LATE_WRITE
        after[o + Q] = 0
        out.append(((words.STORED if accepted else words.FENCED, i), bytes(after)))
    elif s[o + W] == 2 and s[o + D]:
        after[o + Q] = s[o + T]
        out.append(((words.WRITE, i), bytes(after)))


# -- nobody of ours -------------------------------------------------------------------------------


def vanish(m: Election, s: bytes, out: Successors) -> None:
    """The leader key goes without a word."""
    stopped = any(s[o + P] == STOPPED and s[o + T] == s[KEY] for o in m.bases)
    if s[KEY] and (m.scope.vanishes or stopped):
        after = bytearray(s)
        _vacate(m, after)
        out.append(((words.VANISH, 0), bytes(after)))


def damage(m: Election, s: bytes, out: Successors) -> None:
    """Somebody writes rubbish over the term record."""
    if s[KIND] not in {NO_RECORD, UNREADABLE}:
        after = bytearray(s)
        after[KIND], after[OF], after[WINDOW_LEFT] = UNREADABLE, 0, 0
        out.append(((words.DAMAGE, 0), bytes(after)))


def of_nobody(scope: Scope) -> tuple[WorldStep, ...]:
    """Return the steps of the world around the managers."""
    return (
        *((vanish,) if scope.vanishes or scope.stops else ()),
        *((damage,) if scope.unreadable else ()),
    )


def possible(scope: Scope, phase: Phase) -> tuple[Step, ...]:
    """Return the steps of a manager in ``phase``."""
    steps: list[Step] = [write] if scope.writes else []
    steps += [stop] if scope.stops and phase is not Phase.STOPPED else []
    if phase is Phase.STANDBY:
        return (*steps, campaign, poll, *((judge, lose_lease) if scope.judges else ()))
    # Whatever lives acts, whatever the guard believes.
    steps += [act, die, *((spawn,) if scope.helpers else ()), *((reload,) if scope.reloads else ())]
    for offered, phases in _STEPS_OF_PHASES:
        steps += offered if phase in phases else ()
    if scope.resigns and phase in machine.LEADING - {Phase.DRAINING, Phase.HANDING_OVER}:
        steps += [resign]
    if scope.stops and phase in {Phase.HANDING_OVER, Phase.RELEASING}:
        steps += [give_up]
    if scope.judges and phase is Phase.INELIGIBLE:
        steps += [campaign, judge, lose_lease]
    if scope.judges and phase is Phase.JOINING:
        steps += [campaign]
    return tuple(steps)


_STEPS_OF_PHASES: Final[tuple[tuple[tuple[Step, ...], frozenset[Phase]], ...]] = (
    ((leader_heartbeat, alarms, sign), machine.CONFIRMABLE),
    (
        (reap,),
        machine.LEADING | {Phase.KILLING_WORKER, Phase.EXITING_AFTER_HANDOVER, Phase.STOPPING},
    ),
    ((begin,), frozenset({Phase.STARTING, Phase.ACTIVE})),
    ((started,), frozenset({Phase.STARTING, Phase.SUSPENDED_STARTING})),
    ((drain,), frozenset({Phase.DRAINING})),
    ((release,), frozenset({Phase.HANDING_OVER, Phase.RELEASING})),
    ((recover,), frozenset({Phase.JOINING})),
)

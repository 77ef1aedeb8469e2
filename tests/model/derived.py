"""Small tables of whole numbers, computed by the product's own functions.

A model counts time in ticks. Everything that is decided by time, or written into the term record,
is asked of the real code once, for every value that can occur, and looked up afterwards. Nothing
is decided here.

The product allows clocks to differ by 1 %, which no small number of ticks can show. The functions
read that share from one constant, so it can be scaled: in a model whose clocks are wrong by a
fifth, the same functions are given a fifth.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from mgr.election import heartbeat
from mgr.election.deposition import LeaderSnapshot, SilenceDetector, _left_s
from mgr.election.heartbeat import AdaptiveHeartbeat, HeartbeatProfile, safe_takeover_s
from mgr.election.leader_key import LeaderKey
from mgr.election.machine import Action, Event, Phase, step
from mgr.election.records import TermRecord, decode, encode
from mgr.state_machine import UnexpectedEventError
from mgr.store.api import Outcome, Put, Record, Revision
from mgr.store.keys import Keys
from mgr.worker.gate import Gate

WINDOW: Final = 5
"""Ticks that a heartbeat counts. A standby may be slow by a fifth of it, which is one tick."""
KEYS: Final = Keys("model")
NEVER: Final = -1
"""The state machine says that this cannot happen."""

PHASES: Final = tuple(Phase)
EVENTS: Final = tuple(Event)
ACTIONS: Final = tuple(Action)

NO_RECORD, OPEN, QUIESCED, UNREADABLE = range(4)
"""What the term record says: nothing, "may act for so long", "acts no more", or nothing legible."""


def machine_table() -> tuple[tuple[tuple[int, int], ...], ...]:
    """Return (next phase, action or ``NEVER``) for each phase and event; phase ``NEVER``: a bug."""

    def answer(phase: Phase, event: Event) -> tuple[int, int]:
        try:
            following = step(phase, event)
        except UnexpectedEventError:
            return NEVER, NEVER
        action = NEVER if following.action is None else ACTIONS.index(following.action)
        return PHASES.index(following.phase), action

    return tuple(tuple(answer(phase, event) for event in EVENTS) for phase in PHASES)


@contextlib.contextmanager
def clocks_wrong_by(share: float) -> Iterator[None]:
    """Let the real spans pay for clocks whose rates differ by ``share``."""
    before = heartbeat.CLOCK_RATE_ERROR
    heartbeat.CLOCK_RATE_ERROR = share
    try:
        yield
    finally:
        heartbeat.CLOCK_RATE_ERROR = before


class Reading:
    """A clock that shows what it is set to."""

    now_s = 0.0

    def now(self) -> float:
        """Return the time in ticks."""
        return self.now_s


class Slate:
    """Holds one record for ``LeaderKey``, and takes what it writes."""

    def __init__(self, term_record: str | None) -> None:
        self.term_record = term_record

    async def get(self, key: str, *, timeout_s: float | None = None) -> Record | None:
        """Return the term record."""
        return (
            None
            if self.term_record is None
            else Record(key, self.term_record, Revision(1), Revision(1))
        )

    async def commit(self, operations, **_given) -> Outcome:
        """Do what is asked of the term record."""
        for operation in operations:
            if isinstance(operation, Put) and operation.key == KEYS.term_record:
                self.term_record = operation.value
        return Outcome(succeeded=True, revision=Revision(2))


def _leader_key(slate: Slate) -> LeaderKey:
    return LeaderKey(slate, KEYS, "a", Revision(2), version="1")


def written(kind: int, window: int) -> str | None:
    """Return a term record of ``kind`` as the store holds it."""
    if kind == NO_RECORD:
        return None
    if kind == UNREADABLE:
        return "{"
    term_record = TermRecord(
        term=1, name="b", reason="deposed", quiesced=kind == QUIESCED, window_s=float(window)
    )
    return encode(term_record)


def read(value: str | None) -> tuple[int, int]:
    """Return kind and window (ticks, rounded up: a wait must not be shorter) of a record."""
    if value is None:
        return NO_RECORD, 0
    term_record = decode(value, TermRecord)
    if term_record is None:
        return UNREADABLE, 0
    return QUIESCED if term_record.quiesced else OPEN, math.ceil(term_record.window_s)


@dataclass(frozen=True)
class Spans:
    """All decisions about time, for clocks that are wrong by ``share``.

    Attributes:
        proof: By the ticks since its sending, how many ticks a proof still counts.
        out: After so many ticks a silent term certainly acts no more.
        look: By what a standby counted before and the ticks since its last look: what it counts.
        over: Whether so many counted ticks allow a deposition.
        sign: By kind and window of the record found: the wait it demands, and the record written.
        release: By the wait that is left: the record written.
        left: By the window of the record and the counted silence: the window a deposition leaves.

    """

    share: float
    own_window: int = WINDOW
    """The window by which a standby counts; another one than the leader's is a fault."""
    proof: tuple[int, ...] = field(init=False)
    out: int = field(init=False)
    look: tuple[tuple[int, ...], ...] = field(init=False)
    over: tuple[bool, ...] = field(init=False)
    sign: dict[tuple[int, int], tuple[int, int, int]] = field(init=False)
    release: tuple[tuple[int, int], ...] = field(init=False)
    left: tuple[tuple[int, ...], ...] = field(init=False)

    def __post_init__(self) -> None:
        """Ask the real functions."""
        with clocks_wrong_by(self.share):
            out = math.ceil(safe_takeover_s(WINDOW))
            ages = range(WINDOW + 1)
            tables = {
                "proof": tuple(_proof(age) for age in ages),
                "out": out,
                "look": tuple(
                    tuple(self._looked(lasted, gap)[0] for gap in range(3))
                    for lasted in range(out + 2)
                ),
                "over": tuple(self._looked(lasted, 0)[1] for lasted in range(out + 2)),
                "sign": {
                    (kind, window): _signed(kind, window)
                    for kind in range(4)
                    for window in range(out + 1)
                },
                "release": tuple(_released(left) for left in range(out + 1)),
                "left": tuple(
                    tuple(self._handed_on(window, lasted) for lasted in range(out + 2))
                    for window in range(out + 1)
                ),
            }
        for name, table in tables.items():
            object.__setattr__(self, name, table)

    def _silence(self, lasted: int) -> SilenceDetector:
        snapshot = LeaderSnapshot(Revision(1), Revision(1), Revision(1))
        silence = SilenceDetector(snapshot, float(self.own_window), 0.0)
        self._listen(silence, 0, lasted)
        return silence

    def _listen(self, silence: SilenceDetector, since: int, until: int) -> None:
        for tenth in range(since * 10 + 1, until * 10 + 1):
            silence.on_answer(silence.snapshot, float(self.own_window), tenth / 10)

    def _looked(self, lasted: int, gap: int) -> tuple[int, bool]:
        silence = self._silence(lasted)
        if gap == 1:
            # One tick is many looks of a standby that is answered.
            self._listen(silence, lasted, lasted + 1)
        silence.on_answer(silence.snapshot, float(self.own_window), float(lasted + gap))
        # One tick above the limit counts like ten.
        most = math.ceil(safe_takeover_s(WINDOW)) + 1
        return min(int(silence.silent_s()), most), silence.may_depose()

    def _handed_on(self, window: int, lasted: int) -> int:
        term_record = decode(written(OPEN, window) or "", TermRecord)
        return max(0, math.ceil(_left_s(term_record, self._silence(lasted))))


def _proof(age: int) -> int:
    """Return the ticks for which a real gate holds on a proof that was sent ``age`` ticks ago."""
    clock = Reading()
    adaptive = AdaptiveHeartbeat(
        HeartbeatProfile(every_s=1.0, timeout_s=float(WINDOW)), ceiling_s=float(WINDOW)
    )
    gate = Gate(clock, lambda: None)
    gate.extend(1, adaptive.deadline_s(0.0))
    holding = 0
    for tick in range(age, 2 * WINDOW):
        clock.now_s = float(tick)
        holding += gate.term_valid()
    return holding


def _signed(kind: int, window: int) -> tuple[int, int, int]:
    slate = Slate(written(kind, window))
    inherited_s = asyncio.run(
        _leader_key(slate).open_term_record(safe_takeover_s(WINDOW), timeout_s=1.0)
    )
    return math.ceil(inherited_s or 0.0), *read(slate.term_record)


def _released(left: int) -> tuple[int, int]:
    slate = Slate(None)
    asyncio.run(_leader_key(slate).release("reaped", left_s=float(left), timeout_s=1.0))
    return read(slate.term_record)

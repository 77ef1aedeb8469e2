"""What is checked: every scope, every protection that is taken out, and every known limit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from tests.model import copies, election_words, journal, liveness, restore, writes
from tests.model.checker import Found, Model, Result, explore
from tests.model.copies import Copies, Streams
from tests.model.election import FAST, SLOW, Election, Scope
from tests.model.journal import Journals
from tests.model.liveness import LONG, Liveness, check
from tests.model.restore import Restore
from tests.model.writes import Writes

Make = Callable[[], Model]


class Checked(NamedTuple):
    """A search, and how many fair rounds there are at most until somebody works (-1: not asked)."""

    result: Result
    rounds: int = -1

    def row(self) -> str:
        """Return the figures in one line."""
        rounds = f"  at most {self.rounds} rounds" if self.rounds >= 0 else ""
        return self.result.row() + rounds


class Removal(NamedTuple):
    """A protection, what it says, and the model without it."""

    protection: str
    says: str
    make: Make


EXACT: Final = Scope(name="two managers")
DRAINS: Final = Scope(name="hand-overs", resigns=True, reloads=True)
HELPERS: Final = Scope(name="crashes, helpers", crashes=True, helpers=True)
VANISHES: Final = Scope(name="lost keys", vanishes=True)
DAMAGED: Final = Scope(name="lost keys, bad record", vanishes=True, unreadable=True)
WRITES: Final = Scope(name="writes", writes=True)
DRIFT: Final = Scope(name="slow and fast clock", share=0.2, rates=(SLOW, FAST))
PAUSED: Final = Scope(name="unseen pause", pause=2, late=1)
ONE_TERM: Final = Scope(
    name="one term, its worker fails",
    terms=1,
    helpers=True,
    reloads=True,
    resigns=True,
    crashes=True,
)
INELIGIBLE: Final = Scope(name="one term, an ineligible store", terms=1, judges=True)
STOPS: Final = Scope(name="one term, stops", terms=1, stops=True, judges=True)
LOST_KEYS: Final = Scope(
    name="one term, its key is lost", terms=1, vanishes=True, unreadable=True, crashes=True
)


def _elections(*scopes: Scope) -> dict[str, Make]:
    return {scope.name: lambda scope=scope: Election(scope) for scope in scopes}


QUICK: Final[dict[str, Make]] = {
    **_elections(EXACT, ONE_TERM, LOST_KEYS, INELIGIBLE),
    "writes": Writes,
    "journal": lambda: Journals(attempts=5),
    "restore": lambda: Restore(revisions=6),
    "restore, foreign": lambda: Restore(revisions=5, foreign=True, forgets=True),
    "copies": Copies,
    "streams": Streams,
    "liveness": Liveness,
}
"""Exhaustive, in about a minute: part of ``make test``."""

DEEP: Final[dict[str, Make]] = {
    **QUICK,
    "writes, four": lambda: Writes(ops=4, sent=5),
    "journal, seven": lambda: Journals(attempts=7),
    "restore, seven": Restore,
    "liveness, long": lambda: Liveness(ticks=LONG),
    **_elections(DRIFT, HELPERS, STOPS, PAUSED),
    "restore, foreign, six": lambda: Restore(revisions=6, foreign=True, forgets=True),
}
"""Exhaustive, in some twenty minutes: ``make check-model``."""

_SCOPE_OF: Final = {
    "term compare": WRITES,
    "deadline from sending": EXACT,
    "window of the leader": EXACT,
    "kill timer": EXACT,
    "kill before release": DRAINS,
    "helpers end too": HELPERS,
    "abandoned threads count": DRAINS,
    "second gate": VANISHES,
    "hand-me-down": Scope(name="lost keys, crashes", vanishes=True, crashes=True),
    "unreadable is a full wait": DAMAGED,
}


def _removals() -> list[Removal]:
    found = [
        Removal(name, says, lambda name=name: Election(_SCOPE_OF[name], name))
        for name, says in election_words.PROTECTIONS.items()
    ]
    families: Sequence[tuple[dict[str, str], Callable[[str], Model]]] = (
        (writes.PROTECTIONS, Writes),
        (journal.PROTECTIONS, Journals),
        (restore.PROTECTIONS, lambda name: Restore(name, foreign=name == "cluster id")),
        (copies.PROTECTIONS, Copies),
        (Streams.protections, Streams),
        (liveness.PROTECTIONS, Liveness),
    )
    for protections, make in families:
        for name, says in protections.items():
            found.append(Removal(name, says, lambda make=make, name=name: make(name)))
    return found


REMOVALS: Final = _removals()

LIMITS: Final[dict[str, Make]] = {
    "a pause that a clock does not show delays effects": lambda: Election(
        Scope(name="unseen pause, no allowance", pause=2)
    ),
    "a manager that has not seen the newest term may give it again after a restore": lambda: (
        Restore(everybody=True)
    ),
}
"""What the product does not promise, shown as a counterexample."""


def run(make: Make) -> Checked:
    """Search one model; for liveness, follow every fair schedule as well."""
    model = make()
    if not isinstance(model, Liveness):
        return Checked(explore(model))
    result, rounds, story = check(model)
    if story is not None:
        *steps, broken = story
        result.found = Found(broken, tuple(steps))
        rounds = -1
    return Checked(result, rounds)

"""What the steps and the violations of the election model are called, and its protections."""

from __future__ import annotations

from typing import Final

from tests.model.checker import Label
from tests.model.derived import PHASES
from tests.model.election_state import HEAD, KEY, SIZE, D, E, P, Q, T

NAMES: Final = "ABC"

TEXTS: Final[dict[int, str]] = {}
"""By label: what happened, with places for names and numbers."""


VIOLATIONS: Final = (
    "",
    "I1: an effect outside of an older term came after an effect of a newer one",
    "I2: the record says quiesced, and something of that term or an earlier one can still act",
    "the state machine was given an event that its table says cannot happen",
    "I3: a write of a term that is over was accepted",
    "a standby deposed a term that may still act: its deadline is ahead",
)
INTERLEAVED, ALIVE, UNEXPECTED, LATE_WRITE, EARLY = 1, 2, 3, 4, 5

PROTECTIONS: Final = {
    "term compare": "every write compares the create revision of the leader key",
    "deadline from sending": "a proof counts from the moment it was sent",
    "window of the leader": "a standby counts by the window in the leader's record",
    "kill timer": "a kernel timer ends what acts outside at the deadline",
    "kill before release": "a drain that is overdue ends in a kill before the key is given back",
    "helpers end too": "the worker counts as gone when all of its descendants are dead",
    "abandoned threads count": "a replaced instance whose thread lives prevents `quiesced`",
    "second gate": "effects wait for the predecessor's window or its quiesced record",
    "hand-me-down": "a term that ends early hands on what it had not outwaited itself",
    "unreadable is a full wait": "a term record that cannot be read certifies nothing",
}


def _label(text: str) -> int:
    TEXTS[len(TEXTS)] = text
    return len(TEXTS) - 1


TICK = _label("a tick passes")
PAUSE = _label("a tick passes, and A is paused and does not know")
CAMPAIGN = _label("{who} sends an attempt to make the leader key")
TAKEN = _label("{who}'s attempt makes the leader key: term {term}")
TOO_LATE = _label("{who}'s attempt arrives and is refused")
HEARS = _label("{who} hears the answer; its deadline is in {left} ticks")
REFUSAL = _label("{who} hears that it was refused")
LOSES = _label("{who} gives its request up: no answer came")
CLAIM = _label("{who} finds that the leader key is its own, and writes it again")
SIGN = _label("{who} signs the term record of term {term}: effects in {wait} ticks")
LOSS = _label("{who} learns that its term {term} is over")
READY = _label("{who}'s modules are constructed")
BEGIN = _label("{who} starts a module that acts outside, in term {term}")
SPAWN = _label("{who}'s module starts a helper process")
RELOAD = _label("{who} replaces the module; the old instance's thread does not stop")
ACT = _label("{who} acts outside, in term {term}")
HEARTBEAT = _label("{who} sends a heartbeat")
HEARTBEAT_WRITTEN = _label("{who}'s heartbeat is written")
HEARTBEAT_REFUSED = _label("{who}'s heartbeat arrives and is refused")
PASSED = _label("{who} notices that its deadline is over")
DIES = _label("{who}'s worker dies")
WORKER_EXITED = _label("{who}'s guard reaps the worker and what it started")
RESIGN = _label("{who} is asked to hand over")
DRAINED = _label("{who}'s worker reports that nothing of term {term} runs any more")
OVERDUE = _label("{who}'s drain takes too long")
RELEASE = _label("{who} gives the leader key of term {term} back and writes the term record")
RELEASED = _label("{who} finds that the leader key is not its own any more")
RECOVER = _label("{who} joins with a clean worker")
LOOK = _label("{who} looks at the heartbeat of term {key}")
DEPOSE = _label("{who} deposes term {key}")
WRITE = _label("{who} sends a write of term {term}")
STORED = _label("{who}'s write of term {write} is stored")
FENCED = _label("{who}'s write of term {write} is refused")
STOP = _label("{who} is to stop")
STOP_NOW = _label("{who} is to stop at once")
GIVES_UP = _label("{who} stops without an answer to its release")
INELIGIBLE = _label("{who} finds that it is not eligible")
ELIGIBLE = _label("{who} finds the store fit again")
LEASE = _label("{who} finds its lease gone")
VANISH = _label("the leader key vanishes: its lease ran out, or an operator deleted it")
DAMAGE = _label("the term record becomes unreadable")


def sentence(label: Label, before: bytes, after: bytes) -> str:
    """Say who did what, with the phase where it changed."""
    action, who = label
    base = HEAD + who * SIZE
    values = {
        "who": NAMES[who],
        "term": after[base + T] or before[base + T],
        "key": before[KEY],
        "left": after[base + D],
        "wait": after[base + E],
        "write": before[base + Q],
    }
    text = TEXTS[action].format(**values)
    if before[base + P] != after[base + P] and "{who}" in TEXTS[action]:
        text += f" ({PHASES[before[base + P]].name} to {PHASES[after[base + P]].name})"
    return text

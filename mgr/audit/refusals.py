"""Counts refusals by caller, so that no caller can fill the audit with them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from mgr.clock import Clock

WINDOW_S: Final = 600.0
"""All refusals of one caller within this time are one record."""
COMMANDS_MAX: Final = 16
"""Commands counted by name in one record; the rest are counted together."""
CALLERS_MAX: Final = 500
"""Callers counted at once; those beyond are counted together."""
OTHERS: Final = "(others)"

CallerKey = tuple[str, str, str]
"""Author, kind and address."""


@dataclass(slots=True)
class Refused:
    """The refusals of one caller in one window.

    Attributes:
        place: Sequence of its record; the same while the window lasts.
        changed: It has refusals that are not stored.
        stored: Its record exists.

    """

    caller: CallerKey
    place: int
    began_s: float
    at: str
    command: str
    arguments: dict[str, str]
    detail: str
    last: str = ""
    count: int = 0
    commands: dict[str, int] = field(default_factory=dict)
    changed: bool = True
    stored: bool = False

    def add(self, command: str, at: str) -> None:
        """Count one more."""
        self.count += 1
        self.last = at
        known = command in self.commands or len(self.commands) < COMMANDS_MAX
        name = command if known else OTHERS
        self.commands[name] = self.commands.get(name, 0) + 1
        self.changed = True


class RefusalCounter:
    """The refusals of the present windows, by caller. Its size is bounded."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._open: dict[CallerKey, Refused] = {}

    def find(self, caller: CallerKey) -> Refused | None:
        """Return the record that a refusal of ``caller`` is counted in; None: it is the first."""
        self._close_old()
        found = self._open.get(caller)
        if found is None and len(self._open) >= CALLERS_MAX:
            return self._open.get((OTHERS, "", ""))
        return found

    def key(self, caller: CallerKey) -> CallerKey:
        """Return the key under which a new record of ``caller`` is kept."""
        return caller if len(self._open) < CALLERS_MAX else (OTHERS, "", "")

    def open(self, refused: Refused) -> None:
        """Begin a window."""
        self._open[refused.caller] = refused

    def unstored(self, count: int) -> list[Refused]:
        """Return at most ``count`` records with refusals that are not stored."""
        return [each for each in self._open.values() if each.changed][:count]

    def _close_old(self) -> None:
        oldest_s = self._clock.now() - WINDOW_S
        # In the order in which the windows began.
        for key, refused in list(self._open.items()):
            if refused.began_s > oldest_s:
                break
            if not refused.changed:
                del self._open[key]

"""What the active is given with its term: the gate, the limits, and the way back to its guard."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from mgr.command.dispatch import Gate
from mgr.errors import FencedError


async def _at_once() -> None:
    """Nothing has to be done before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Office:
    """The term as the guard handed it over, and the way back to the guard.

    Attributes:
        gate: May this worker answer now?
        lease: The node lease, for keys that must end with this manager.
        resign: Asks the guard for a hand-over: why, and to whom (empty: to anybody).
        fenced: Told once, when the store says that the term is over.
        before_external: Returns once the kernel ends this worker at the deadline of its term:
            nothing that acts outside the store may start before.
        effects_from_s: From when on, on the clock, earlier terms certainly act no more.
        ended: How the last term ended, for the cluster log; empty: this is the first.
        planned: Whether that was a hand-over.

    """

    term: int
    lease: int
    http_address: str
    gate: Gate
    resign: Callable[[str, str], None]
    fenced: Callable[[FencedError], None]
    before_external: Callable[[], Awaitable[None]] = _at_once
    effects_from_s: float = 0.0
    ended: str = ""
    planned: bool = True

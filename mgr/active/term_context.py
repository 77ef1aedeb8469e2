"""What the active is given with its term: the gate, the limits, and the way back to its guard."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from mgr.command.dispatch import Gate
from mgr.errors import FencedError


async def _nothing_before() -> None:
    """Nothing has to be done before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TermContext:
    """The term as the guard handed it over, and the way back to the guard.

    Attributes:
        gate: May this worker answer now?
        lease: The node lease, for keys that must end with this manager.
        resign: Asks the guard for a hand-over: why, and to whom (empty: to anybody).
        on_fenced: Told once, when the store says that the term is over.
        before_external: Returns once the kernel ends this worker at the deadline of its term:
            nothing that acts outside the store may start before.
        effects_from_s: From when on, on the clock, earlier terms certainly act no more.
        predecessor_end: How the last term ended, for the cluster log; empty: this is the first.
        planned: Whether that was a hand-over.

    """

    term: int
    lease: int
    http_address: str
    gate: Gate
    resign: Callable[[str, str], None]
    on_fenced: Callable[[FencedError], None]
    before_external: Callable[[], Awaitable[None]] = _nothing_before
    effects_from_s: float = 0.0
    predecessor_end: str = ""
    planned: bool = True

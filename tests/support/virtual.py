"""An event loop whose time is a number: real coroutines, hours of them in milliseconds.

When nothing is left to do, time jumps to the next timer. Code belongs to a *process*, a
context variable that its tasks inherit; a process can be frozen, and then not a single callback
of it runs until it is thawed. What would have woken it meanwhile wakes it then, all at once and
late, as after SIGSTOP or a paused virtual machine.
"""

from __future__ import annotations

import asyncio
import contextvars
import selectors
from collections.abc import Callable
from typing import Any

START_S = 1000.0
RESOLUTION_S = 1e-6

PROCESS: contextvars.ContextVar[str] = contextvars.ContextVar("process", default="the world")


class VirtualClock:
    """The time of one loop."""

    def __init__(self) -> None:
        self.now_s = START_S

    def now(self) -> float:
        """Seconds since a start that means nothing."""
        return self.now_s


class _Jump(selectors.SelectSelector):
    """Waits by moving the clock. Nothing outside this process ever happens."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise AssertionError("nothing will ever happen again")
        self._clock.now_s += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """See the module's docstring."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        super().__init__(_Jump(clock))
        self._clock_resolution = RESOLUTION_S
        self._frozen: set[str] = set()
        self._parked: list[tuple[str, Callable[[], object]]] = []

    def time(self) -> float:
        return self.clock.now_s

    def freeze(self, process: str) -> None:
        """Stop every callback of ``process`` and of those below it (``a`` holds ``a/…``)."""
        self._frozen.add(process)

    def thaw(self, process: str) -> None:
        """Let ``process`` go on with everything that waited for it."""
        self._frozen.discard(process)
        parked, self._parked = self._parked, []
        for owner, call in parked:
            if self._is_frozen(owner):
                self._parked.append((owner, call))
            else:
                call()

    def call_soon(self, callback, *args, context=None):
        context = context or contextvars.copy_context()
        made: list[asyncio.Handle] = []
        made.append(super().call_soon(self._run, made, context, callback, args, context=context))
        return made[0]

    def call_at(self, when, callback, *args, context=None):
        context = context or contextvars.copy_context()
        made: list[asyncio.Handle] = []
        made.append(
            super().call_at(when, self._run, made, context, callback, args, context=context)
        )
        return made[0]

    def _run(self, made, context, callback, args):
        owner = context.get(PROCESS, "the world")
        if made[0].cancelled():
            # Since it was parked: whoever thawed first did not want it any more.
            return
        if self._frozen and self._is_frozen(owner):
            again = lambda: super(VirtualLoop, self).call_soon(  # noqa: E731
                self._run, made, context, callback, args, context=context
            )
            self._parked.append((owner, again))
        else:
            callback(*args)

    def _is_frozen(self, owner: str) -> bool:
        return any(owner == p or owner.startswith(f"{p}/") for p in self._frozen)


def context_of(process: str) -> contextvars.Context:
    """A context in which everything that is started belongs to ``process``."""
    context = contextvars.copy_context()
    context.run(PROCESS.set, process)
    return context

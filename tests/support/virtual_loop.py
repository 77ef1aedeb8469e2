"""An event loop whose time is a number: real coroutines, hours of them in milliseconds.

When nothing is left to do, time jumps to the next timer. Code belongs to a *process*, a
context variable that its tasks inherit; a process can be frozen, and then not a single callback
of it runs until it is thawed. What would have woken it meanwhile wakes it then, all at once and
late, as after SIGSTOP.

A process belongs to a *host* (``a/worker`` to ``a``), and a host has a clock of its own: it may run
a little too fast or too slow, and it stands still while the host is paused in a way that the host
cannot see, as a hypervisor does it. Timers of its processes follow that clock.
"""

from __future__ import annotations

import asyncio
import contextvars
import selectors
from collections.abc import Callable
from typing import Any

START_S = 1000.0
RESOLUTION_S = 1e-6
LOOK_AGAIN_S = 0.01
"""How often a timer that is due looks whether its host is still paused."""

WORLD = "the world"
KERNEL = "'s kernel"
"""What timers of the kernel belong to: ``a's kernel`` goes on while ``a`` is frozen."""
PROCESS: contextvars.ContextVar[str] = contextvars.ContextVar("process", default=WORLD)


class VirtualClock:
    """The time of one loop."""

    def __init__(self) -> None:
        self.now_s = START_S

    def now(self) -> float:
        """Seconds since a start that means nothing."""
        return self.now_s


class HostClock:
    """The boot clock of one host."""

    def __init__(self, loop: VirtualLoop, host: str) -> None:
        """Show the time of ``host`` on ``loop``."""
        self._loop = loop
        self._host = host

    def now(self) -> float:
        """Seconds, of which the host does not see a pause from outside."""
        return self._loop.time_of(self._host)


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
        self._alone: set[str] = set()
        self._parked: list[tuple[str, Callable[[], object]]] = []
        # By host: since when its clock stands still; and where, when and how fast it went on.
        self._paused: dict[str, float] = {}
        self._clocks: dict[str, tuple[float, float, float]] = {}

    # -- time, as each host sees it ---------------------------------------------------------------

    def time(self) -> float:
        """The time on the clock of the host whose code asks."""
        return self.time_of(PROCESS.get())

    def time_of(self, owner: str) -> float:
        """The time on the clock of the host of process ``owner``."""
        host = host_of(owner)
        now_s = self._paused.get(host, self.clock.now_s)
        begun_s, shown_s, rate = self._clocks.get(host, (0.0, 0.0, 1.0))
        return shown_s + (now_s - begun_s) * rate

    def world_time(self, owner: str, moment_s: float) -> float:
        """When a moment on that clock will be, or was, if nobody touches the clock."""
        _, _, rate = self._clocks.get(host_of(owner), (0.0, 0.0, 1.0))
        return self.clock.now_s + (moment_s - self.time_of(owner)) / rate

    def set_rate(self, host: str, rate: float) -> None:
        """Let the clock of ``host`` run faster (above 1) or slower from now on."""
        self._clocks[host] = (self.clock.now_s, self.time_of(host), rate)

    def pause(self, host: str) -> None:
        """Stop every process of ``host``, and its clock with them."""
        self._paused.setdefault(host, self.clock.now_s)
        self.freeze(host)

    def resume(self, host: str) -> None:
        """Let a paused host go on, as if no time had passed."""
        if host in self._paused:
            shown_s = self.time_of(host)
            del self._paused[host]
            _, _, rate = self._clocks.get(host, (0.0, 0.0, 1.0))
            self._clocks[host] = (self.clock.now_s, shown_s, rate)
            self.thaw(host)

    def is_paused(self, host: str) -> bool:
        """Whether its clock stands still."""
        return host in self._paused

    # -- frozen processes -------------------------------------------------------------------------

    def freeze(self, process: str, *, alone: bool = False) -> None:
        """Stop every callback of ``process`` and of those below it (``a`` holds ``a/…``).

        With ``alone`` those below it go on.
        """
        (self._alone if alone else self._frozen).add(process)

    def thaw(self, process: str) -> None:
        """Let ``process`` go on with everything that waited for it."""
        self._frozen.discard(process)
        self._alone.discard(process)
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

    def call_later(self, delay, callback, *args, context=None):
        context = context or contextvars.copy_context()
        now_s = self.time_of(context.get(PROCESS, WORLD))
        return self.call_at(now_s + delay, callback, *args, context=context)

    def call_at(self, when, callback, *args, context=None):
        context = context or contextvars.copy_context()
        owner = context.get(PROCESS, WORLD)
        made: list[asyncio.Handle] = []
        made.append(
            super().call_at(
                self.world_time(owner, when),
                self._due,
                made,
                when,
                context,
                callback,
                args,
                context=context,
            )
        )
        return made[0]

    def _due(self, made, when, context, callback, args):
        owner = context.get(PROCESS, WORLD)
        if when - self.time_of(owner) > RESOLUTION_S and not made[0].cancelled():
            # Its clock stood still meanwhile, or stands still, or goes slower now.
            later_s = max(self.world_time(owner, when), self.clock.now_s + LOOK_AGAIN_S)
            super().call_at(
                later_s, self._due, made, when, context, callback, args, context=context
            )
        else:
            self._run(made, context, callback, args)

    def _run(self, made, context, callback, args):
        owner = context.get(PROCESS, WORLD)
        if made[0].cancelled():
            # Since it was parked: whoever thawed first did not want it any more.
            return
        if self._is_frozen(owner):
            again = lambda: super(VirtualLoop, self).call_soon(  # noqa: E731
                self._run, made, context, callback, args, context=context
            )
            self._parked.append((owner, again))
        else:
            callback(*args)

    def _is_frozen(self, owner: str) -> bool:
        if owner in self._alone:
            return True
        return any(owner == p or owner.startswith(f"{p}/") for p in self._frozen)


def context_of(process: str) -> contextvars.Context:
    """A context in which everything that is started belongs to ``process``."""
    context = contextvars.copy_context()
    context.run(PROCESS.set, process)
    return context


def host_of(process: str) -> str:
    """The host that a process is on; ``KERNEL`` is there as well, and is never frozen."""
    return process.partition("/")[0].removesuffix(KERNEL)

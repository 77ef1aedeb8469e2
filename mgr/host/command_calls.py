"""The commands that were given to the threads of modules and have not ended.

A caller that stops waiting does not end its command: the module's code goes on, and everything
behind it on that thread waits. So a call is listed until the thread is through with it.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, TypeVar

from mgr.clock import Clock, utc_now
from mgr.host.bridge import Bridge, thread_name

T = TypeVar("T")

LATEST_MAX: Final = 512
"""Commands of each module whose time is kept."""
COMMANDS: Final = "commands"
"""Purpose of the thread of a module that runs its commands."""


@dataclass(eq=False, slots=True)
class CommandCall:
    """One command that was given to a module.

    Attributes:
        caller: The client, as the dispatcher knows it.
        thread: The name of the thread that runs it.
        given_s: When it was given to the module, on the manager's clock.
        begun_s: When its code began to run; None while it waits for the thread.

    """

    prefix: str
    module: str
    caller: object
    thread: str
    given_s: float
    begun_s: float | None = None
    _since: str = ""

    def since(self, now_s: float) -> str:
        """Return ``given_s`` as wall time in ISO 8601, for people, at the moment ``now_s``.

        Made when it is first shown, which few commands ever are, and the same from then on.
        """
        if not self._since:
            at = utc_now() - timedelta(seconds=now_s - self.given_s)
            self._since = at.isoformat(timespec="microseconds")
        return self._since


@dataclass(slots=True)
class _Ended:
    """The ended commands of one module: their number, and the seconds of the latest."""

    count: int = 0
    latest_s: deque[float] = field(default_factory=lambda: deque(maxlen=LATEST_MAX))


class CommandCalls:
    """The calls in progress. Entries are added and removed on any thread, and read on the loop."""

    def __init__(self, clock: Clock) -> None:
        """Begin with none."""
        self._clock = clock
        # Adding to and removing from a dictionary are atomic, so no lock is needed.
        self._calls: dict[int, CommandCall] = {}
        self._ended: defaultdict[str, _Ended] = defaultdict(_Ended)

    def all(self) -> list[CommandCall]:
        """Return the calls in progress, the oldest first."""
        # ``sorted`` copies first, which no other thread interrupts.
        return sorted(self._calls.values(), key=lambda call: call.given_s)

    async def run(
        self, bridge: Bridge, module: str, command: Any, caller: object, call: Callable[[], T]
    ) -> T:
        """Run ``call`` on the command thread behind ``bridge``; raises as ``to_module`` does."""
        entry = self._entry(module, command, caller)
        key = id(entry)

        def listed() -> T:
            entry.begun_s = self._clock.now()
            self._calls[key] = entry  # again: the caller may have gone away a moment ago
            try:
                return call()
            finally:
                self._count(entry)
                self._calls.pop(key, None)

        self._calls[key] = entry
        try:
            return await bridge.to_module(listed)
        finally:
            # If the code has begun and the caller only stopped waiting, the thread removes it.
            if entry.begun_s is None:
                self._calls.pop(key, None)

    def open(self, module: str, command: Any, caller: object) -> CommandCall:
        """List a command of a module in another process until ``close``."""
        entry = self._entry(module, command, caller)
        self._calls[id(entry)] = entry
        return entry

    def close(self, entry: CommandCall) -> None:
        """Take a command off the list; another time it does nothing."""
        if self._calls.pop(id(entry), None) is not None and entry.begun_s is not None:
            self._count(entry)

    def ended(self, module: str) -> int:
        """Return how many commands of ``module`` have ended."""
        return self._ended[module].count

    def p99_ms(self, module: str) -> float | None:
        """Return the time that 99 of 100 of its latest commands took at most; None without any."""
        times = sorted(self._ended[module].latest_s.copy())
        return times[(len(times) - 1) * 99 // 100] * 1e3 if times else None

    def _count(self, entry: CommandCall) -> None:
        """Count a command that has ended. One thread at a time ends commands of a module."""
        ended = self._ended[entry.module]
        ended.count += 1
        ended.latest_s.append(self._clock.now() - entry.given_s)

    def begin(self, entry: CommandCall) -> None:
        """Note that the code of a listed command begins to run."""
        entry.begun_s = self._clock.now()

    def _entry(self, module: str, command: Any, caller: object) -> CommandCall:
        thread = thread_name(module, COMMANDS)
        return CommandCall(command.prefix, module, caller, thread, self._clock.now())

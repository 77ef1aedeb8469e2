"""A clock that a test advances itself, also for code that uses ``time`` and ``datetime``."""

from __future__ import annotations

import datetime as dt
import time as real_time
from collections.abc import Callable, Iterable, MutableMapping
from types import ModuleType
from typing import Any, Final

STARTS_AT: Final = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
"""Wall time of a new clock."""
UNKNOWN: Final = object()


class ManualClock:
    """A clock that only moves when a test calls ``advance``."""

    def __init__(self, now_s: float = 1000.0) -> None:
        """Begin at ``now_s`` seconds after an arbitrary start."""
        self._now_s = now_s
        self._began_s = now_s
        self._watchers: list[Callable[[], None]] = []

    def now(self) -> float:
        """Return the seconds since an arbitrary start."""
        return self._now_s

    def wall(self) -> dt.datetime:
        """Return the wall time, in UTC."""
        return STARTS_AT + dt.timedelta(seconds=self._now_s - self._began_s)

    def advance(self, seconds: float) -> None:
        """Advance by ``seconds`` at once, and call the callbacks of ``on_advance``."""
        if seconds < 0:
            raise AssertionError("time does not run backwards")
        self._now_s += seconds
        for watcher in tuple(self._watchers):
            watcher()

    def on_advance(self, call: Callable[[], None]) -> None:
        """Call ``call`` after every advance. ``MemoryStore`` expires leases with it."""
        self._watchers.append(call)


def take_over(clock: ManualClock, files: Iterable[ModuleType]) -> Callable[[], None]:
    """Make ``time`` and ``datetime`` in these files use ``clock``; return a function to undo it.

    Only these names are replaced, and only in these files: threads and waits use real time.
    ``time.sleep`` advances the clock instead of waiting.
    """
    times, datetimes = _time(clock), _datetime(clock)
    replacements: list[tuple[object, object]] = [
        (real_time, times),
        (real_time.time, times.time),  # noqa: TID251 - to be replaced
        (real_time.monotonic, times.monotonic),  # noqa: TID251 - as above
        (real_time.sleep, times.sleep),  # noqa: TID251 - as above
        (dt, datetimes),
        (dt.datetime, datetimes.datetime),
    ]
    undo: list[tuple[MutableMapping[str, Any], str, object]] = []
    for namespace in map(vars, files):
        for name, value in list(namespace.items()):
            replacement = next((new for old, new in replacements if value is old), UNKNOWN)
            if replacement is not UNKNOWN:
                undo.append((namespace, name, value))
                namespace[name] = replacement

    def restore() -> None:
        for namespace, name, value in undo:
            namespace[name] = value

    return restore


class _Facade(ModuleType):
    """A module that forwards to another one, except for some names."""

    def __init__(self, real: ModuleType, **names: Any) -> None:
        super().__init__(real.__name__)
        self._real = real
        vars(self).update(names)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def _time(clock: ManualClock) -> _Facade:
    return _Facade(
        real_time,
        time=lambda: clock.wall().timestamp(),
        time_ns=lambda: int(clock.wall().timestamp() * 1e9),
        monotonic=clock.now,
        perf_counter=clock.now,
        sleep=clock.advance,
    )


def _datetime(clock: ManualClock) -> _Facade:
    class LikeReal(type):
        """Plain ``datetime`` values are instances, too."""

        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, dt.datetime)

    class ManualDatetime(dt.datetime, metaclass=LikeReal):
        """``datetime`` that uses the clock; its values are pickled as plain ones."""

        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> Any:
            at = clock.wall().astimezone(tz)
            return at if tz else at.replace(tzinfo=None)

        @classmethod
        def utcnow(cls) -> Any:
            return clock.wall().replace(tzinfo=None)

        @classmethod
        def today(cls) -> Any:
            return cls.now()

        def __reduce_ex__(self, protocol: Any) -> Any:
            reduced: Any = super().__reduce_ex__(protocol)
            return dt.datetime, reduced[1]

    return _Facade(dt, datetime=ManualDatetime)

"""Every manager's cables, to be cut from a thread: proxies on an event loop of their own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterable, Mapping
from typing import Any, Self, TypeVar

from tests.support.faults.proxy import Mode, Proxy

T = TypeVar("T")

PATIENCE_S = 10


class Wires:
    """Bundles of cables by name. Use as a context manager."""

    def __init__(self, bundles: Mapping[str, Iterable[str]]) -> None:
        """Lay a cable to each address; those of one bundle are cut together."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="wires")
        self._cables = {name: [Proxy(to) for to in bundle] for name, bundle in bundles.items()}

    def __enter__(self) -> Self:
        self._thread.start()
        self._each(Proxy.__aenter__)
        return self

    def __exit__(self, *_: object) -> None:
        self._each(lambda cable: cable.__aexit__())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def addresses(self, bundle: str) -> list[str]:
        """Where the near ends are."""
        return [cable.address for cable in self._cables[bundle]]

    def set(self, bundle: str, mode: Mode) -> None:
        """Change what its cables carry; returns when it is so."""

        async def change() -> None:
            for cable in self._cables[bundle]:
                cable.mode = mode

        self._wait(change())

    def slow(self, bundle: str, delay_s: float) -> None:
        """Delay whatever passes, in each direction."""

        async def change() -> None:
            for cable in self._cables[bundle]:
                cable.delay_s = delay_s

        self._wait(change())

    def reset(self, bundle: str) -> None:
        """Break every connection that is open."""

        async def change() -> None:
            for cable in self._cables[bundle]:
                cable.reset()

        self._wait(change())

    def mend(self) -> None:
        """Make all of them carry everything at once again."""
        for bundle in self._cables:
            self.set(bundle, Mode.PASS)
            self.slow(bundle, 0.0)

    def _each(self, call: Any) -> None:
        for cables in self._cables.values():
            for cable in cables:
                self._wait(call(cable))

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE_S)

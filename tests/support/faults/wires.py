"""The proxied connections (*cables*) of every manager, controlled from a thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterable, Mapping
from typing import Any, Self, TypeVar

from tests.support.faults.proxy import Mode, Party, Proxy

T = TypeVar("T")

PATIENCE_S = 10


class Wires:
    """Bundles of cables by name. Use as a context manager."""

    def __init__(
        self, bundles: Mapping[str, Iterable[str]], parties: Mapping[str, Party] | None = None
    ) -> None:
        """Lay a cable to each address; those of one bundle are cut together.

        ``parties`` tells, by bundle, who of those at its near end has made a connection.
        """
        known = parties or {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="wires")
        self._cables = {
            name: [Proxy(to, known.get(name)) for to in bundle] for name, bundle in bundles.items()
        }

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

    def set(
        self, bundle: str, mode: Mode, *, party: str | None = None, number: int | None = None
    ) -> None:
        """Change what its cables carry; returns when it is so.

        With ``party`` only for one of those at its near end; with ``number`` on one cable only.
        """

        async def change() -> None:
            for cable in self._chosen(bundle, number):
                if party is None:
                    cable.mode = mode
                else:
                    cable.set_for(party, mode)

        self._wait(change())

    def slow(self, bundle: str, delay_s: float) -> None:
        """Delay whatever passes, in each direction."""

        async def change() -> None:
            for cable in self._cables[bundle]:
                cable.delay_s = delay_s

        self._wait(change())

    def reset(self, bundle: str, *, party: str | None = None) -> None:
        """Break every connection that is open, or those of one party."""

        async def change() -> None:
            for cable in self._cables[bundle]:
                cable.reset(party)

        self._wait(change())

    def hold_up(self, bundle: str, late_s: float, *, party: str, number: int) -> None:
        """Let the requests of a party on one cable arrive so much later; see ``Proxy.hold_up``."""

        async def change() -> None:
            self._cables[bundle][number].hold_up(party, late_s)

        self._wait(change())

    def busiest(self, bundle: str, party: str, *, look_s: float) -> int:
        """The number of the cable that carries most for ``party``, counted for ``look_s``."""

        async def count() -> int:
            cables = self._cables[bundle]
            before = [cable.carried_bytes[party] for cable in cables]
            await asyncio.sleep(look_s)
            grown = [c.carried_bytes[party] - b for c, b in zip(cables, before, strict=True)]
            return grown.index(max(grown))

        return self._wait(count())

    def mend(self) -> None:
        """Make all of them carry everything at once again."""
        for bundle in self._cables:
            self.set(bundle, Mode.PASS)
            self.slow(bundle, 0.0)
        self._each(_let_go)

    def _chosen(self, bundle: str, number: int | None) -> list[Proxy]:
        cables = self._cables[bundle]
        return cables if number is None else [cables[number]]

    def _each(self, call: Any) -> None:
        for cables in self._cables.values():
            for cable in cables:
                self._wait(call(cable))

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE_S)


async def _let_go(cable: Proxy) -> None:
    cable.let_go()

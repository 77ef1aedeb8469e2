"""The client for programs without an event loop: the same calls, one after another."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Coroutine, Generator, Iterable, Sequence
from typing import Any, Self, TypeVar

from mgr.client.aio import REACH_S, TIMEOUT_S, AsyncClient
from mgr.client.answer import Answer, CommandInfo, Line, Missing, Status
from mgr.client.search import Sighting

T = TypeVar("T")


class Client:
    """``AsyncClient`` on a loop of its own; for one thread, and not inside a running loop.

    Use it as ``with Client(hosts) as client``. Promises and errors are those of ``AsyncClient``.
    """

    def __init__(
        self,
        hosts: str | Iterable[str],
        *,
        timeout_s: float = TIMEOUT_S,
        reach_s: float = REACH_S,
    ) -> None:
        """Take the arguments of ``AsyncClient``."""
        self._client = AsyncClient(hosts, timeout_s=timeout_s, reach_s=reach_s)
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._run(self._client.close())
        self._runner.close()

    def execute(
        self,
        words: Sequence[str],
        arguments: dict[str, Any] | None = None,
        *,
        data: bytes = b"",
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> Answer:
        """Run one command on the active."""
        return self._run(
            self._client.execute(
                words, arguments, data=data, timeout_s=timeout_s, request_id=request_id
            )
        )

    def describe(self, *, etag: str = "") -> tuple[list[CommandInfo] | None, str]:
        """Ask which commands there are."""
        return self._run(self._client.describe(etag=etag))

    def fail(self, name: str = "", successor: str = "") -> str:
        """Make the active give up its office."""
        return self._run(self._client.fail(name, successor))

    def status(self) -> Status:
        """Ask what the cluster looks like."""
        return self._run(self._client.status())

    def statuses(self) -> dict[str, Status | str]:
        """Ask each manager named so far."""
        return self._run(self._client.statuses())

    def watch_active(self) -> Generator[Sighting, None, None]:
        """Yield who leads, then each successor."""
        return self._drained(self._client.watch_active())

    def follow_log(
        self, *, past: int = 0, lowest: str = "debug", channel: str = ""
    ) -> Generator[Line | Missing, None, None]:
        """Yield the last lines of the cluster log, then each that comes."""
        return self._drained(self._client.follow_log(past=past, lowest=lowest, channel=channel))

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    def _drained(self, source: AsyncGenerator[T, None]) -> Generator[T, None, None]:
        try:
            with contextlib.suppress(StopAsyncIteration):
                while True:
                    yield self._run(_next(source))
        finally:
            self._run(_close(source))


async def _next(source: AsyncGenerator[T, None]) -> T:
    return await anext(source)


async def _close(source: AsyncGenerator[Any, None]) -> None:
    await source.aclose()

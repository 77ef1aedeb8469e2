"""Clients with long-lived streams to the active, which must leave it when its term is over.

A publisher and a reader of a map, a watcher of it, a follower of the cluster log, and a daemon.
They run along with every fault; after recovery each must be on the newest term within
``WITHIN_S``.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

from mgr.client import AsyncDaemon
from mgr.client.async_client import AsyncClient
from mgr.client.blocking import SHARED_LOOP
from mgr.client.maps import Map
from mgr.client.messages import Answer, LogLine
from mgr.clock import CLOCK
from mgr.errors import MgrError
from tests.support.cluster import wait_for

MAP: Final = "followed"
DAEMON: Final = ("lab", "follower")
EVERY_S: Final = 0.1
WITHIN_S: Final = 10.0
"""In which everybody must be on the newest term, once there is an active that answers."""
STOP_S: Final = 15.0
REPORTED_MAX: Final = 5
"""Violations of one kind; the others would only say the same."""


@dataclass
class Seen:
    """What the followers were shown.

    Attributes:
        published: The newest number whose publication was acknowledged.
        read: The number of the last read.
        watched: The newest number that the watcher was shown.
        log_term: The term of the newest line of the cluster log.
        errors: What a stream ended with that should have been followed on.
        violations: What must never have happened, in words.

    """

    published: int = 0
    read: int = 0
    watched: int = 0
    log_term: int = 0
    errors: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)

    def wrong(self, what: str) -> None:
        """One more violation."""
        if len(self.violations) < REPORTED_MAX:
            self.violations.append(what)

    def was_read(self, number: int, acknowledged: int) -> None:
        """A read returned ``number``; ``acknowledged`` was published before it began."""
        self.read = number
        if number < acknowledged:
            self.wrong(f"a read of a map gave {number} after {acknowledged} was acknowledged")

    def was_shown(self, number: int) -> None:
        """The watcher got ``number``."""
        if number < self.watched:
            self.wrong(f"a watcher of a map was shown {number} after {self.watched}")
        self.watched = max(self.watched, number)


class Followers:
    """Use as a context manager."""

    def __init__(self, hosts: Sequence[str]) -> None:
        """Follow the cluster of the managers at ``hosts``."""
        self.seen = Seen()
        self._hosts = tuple(hosts)

    def __enter__(self) -> Self:
        # On the loop of all blocking clients: grpc.aio wants one loop a process (ADR 14).
        self._running = asyncio.run_coroutine_threadsafe(self._run(), SHARED_LOOP.loop())
        return self

    def __exit__(self, *_: object) -> None:
        self._running.cancel()
        with contextlib.suppress(BaseException):
            self._running.result(STOP_S)

    def lagging(self, term: int, tell: Callable[[], Answer]) -> list[str]:
        """Who is not on ``term``, or on a later one, within ``WITHIN_S``; in words.

        ``tell`` asks the active to pass a command on to the daemon.
        """
        if self._running.done():
            return [f"the followers ended: {self._running.exception()!r}"]
        seen, published = self.seen, self.seen.published
        ends_s = CLOCK.now() + WITHIN_S
        conditions: dict[str, Callable[[], object]] = {
            "nothing could be published": lambda: seen.published > published,
            "a read of a map is behind": lambda: seen.read > published,
            "the watcher of a map is behind": lambda: seen.watched > published,
            f"the log's follower is not in term {term}": lambda: seen.log_term >= term,
            "the active cannot reach the daemon": lambda: _answers(tell),
        }
        found = []
        for what, holds in conditions.items():
            try:
                wait_for(holds, what, max(0.5, ends_s - CLOCK.now()))
            except TimeoutError:
                found.append(f"{WITHIN_S:g} s after recovery {what}; {self.seen}")
        return found

    # -- the followers ----------------------------------------------------------------------------

    async def _run(self) -> None:
        async with (
            AsyncClient(self._hosts) as client,
            AsyncDaemon(*DAEMON, self._hosts) as daemon,
            asyncio.TaskGroup() as tasks,
        ):
            daemon.command("ping", "Say pong")(lambda: "pong")
            for follow in (self._publish, self._read, self._watch, self._log):
                tasks.create_task(follow(client))

    async def _publish(self, client: AsyncClient) -> None:
        number = 0
        while True:
            number += 1
            with contextlib.suppress(MgrError):
                await client.maps.set(MAP, {"number": number})
                self.seen.published = number
            await asyncio.sleep(EVERY_S)

    async def _read(self, client: AsyncClient) -> None:
        while True:
            acknowledged = self.seen.published
            with contextlib.suppress(MgrError):
                found = await client.maps.get(MAP)
                self.seen.was_read(_number(found), acknowledged)
            await asyncio.sleep(EVERY_S)

    async def _watch(self, client: AsyncClient) -> None:
        while True:
            with self._noted("watch"):
                async with contextlib.aclosing(client.maps.watch(MAP)) as changes:
                    async for change in changes:
                        if isinstance(change, Map):
                            self.seen.was_shown(_number(change))
            await asyncio.sleep(EVERY_S)

    async def _log(self, client: AsyncClient) -> None:
        while True:
            with self._noted("log"):
                async with contextlib.aclosing(client.follow_log(past=100)) as lines:
                    async for line in lines:
                        if isinstance(line, LogLine):
                            self.seen.log_term = max(self.seen.log_term, line.term)
            await asyncio.sleep(EVERY_S)

    @contextlib.contextmanager
    def _noted(self, what: str) -> Any:
        try:
            yield
        except MgrError as error:
            # With nobody there that is right; it opens again, as a program would.
            self.seen.errors.append(f"{what}: {error.reason}: {error}")


def _number(found: Map | None) -> int:
    return int(found.document["number"]) if found is not None else 0


def _answers(tell: Callable[[], Answer]) -> bool:
    try:
        return tell().retval == 0
    except MgrError:
        return False

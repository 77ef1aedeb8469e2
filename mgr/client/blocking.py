"""The client for programs without an event loop: the same calls, but blocking.

All blocking clients of a process share one event loop, in a thread of its own that lives as
long as the process. grpc.aio delivers the events of every loop through whichever loop is awake,
so with one loop per client, closing one client would cause errors in another one (docs/adr/0014).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import uuid
from collections.abc import AsyncGenerator, Coroutine, Generator, Iterable, Mapping, Sequence
from typing import Any, Final, Self, TypeVar

from mgr.client.async_client import REACH_S, TIMEOUT_S, AsyncClient
from mgr.client.attempt import Attempts
from mgr.client.leader_search import LeaderHint
from mgr.client.local_first import LocalFirst
from mgr.client.maps import Map, MapRemoved, Maps
from mgr.client.messages import Answer, CommandInfo, LinesDropped, LogLine, Status, request_of
from mgr.client.span import client_span
from mgr.clock import CLOCK
from mgr.errors import InternalError, NotActiveError, UnreachableError
from mgr.tls import Tls

T = TypeVar("T")

THREAD: Final = "mgr-client"
CHECK_INTERVAL_S: Final = 1.0
"""How often a waiting call checks whether the thread of the shared loop still exists."""

log = logging.getLogger(__name__)


class Client:
    """``AsyncClient`` for threads: several threads may use it at once.

    Use it as ``with Client(hosts) as client``. Guarantees and errors are those of ``AsyncClient``.
    An interrupt (Ctrl-C) ends the waiting call. Do not use it inside a running event loop.
    """

    def __init__(
        self,
        hosts: str | Iterable[str],
        *,
        timeout_s: float = TIMEOUT_S,
        reach_s: float = REACH_S,
        tls: Tls | None = None,
        local: str | None = None,
    ) -> None:
        """Take the arguments of ``AsyncClient``.

        ``local`` is the path of the unix socket of a manager on this host (its setting
        ``unix_socket``): commands go there first, and to ``hosts`` whenever that manager does not
        lead.
        """

        async def create() -> AsyncClient:
            return AsyncClient(hosts, timeout_s=timeout_s, reach_s=reach_s, tls=tls)

        self._client = run(create())
        self._timeout_s = timeout_s
        self._local = LocalFirst(local, self._elsewhere, self._superseded, CLOCK) if local else None
        self.maps: Final = BlockingMaps(self._client.maps)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        if self._local is not None:
            self._local.socket.close()
        run(self._client.close())

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
        if self._local is not None:
            chosen_id = uuid.uuid4().hex if request_id is None else request_id
            with client_span() as trace:
                attempts = Attempts(request_of(words, arguments, data, chosen_id, trace), CLOCK)
                return self._local.execute(attempts, timeout_s=timeout_s or self._timeout_s)
        return run(
            self._client.execute(
                words, arguments, data=data, timeout_s=timeout_s, request_id=request_id
            )
        )

    def describe(self, *, etag: str = "") -> tuple[list[CommandInfo] | None, str]:
        """Return the commands of the active."""
        return run(self._client.describe(etag=etag))

    def fail(self, name: str = "", successor: str = "") -> str:
        """Make the active give up leadership."""
        return run(self._client.fail(name, successor))

    def status(self) -> Status:
        """Return the state of the cluster."""
        return run(self._client.status())

    def statuses(self) -> dict[str, Status | str]:
        """Return the state of each known manager."""
        return run(self._client.statuses())

    def watch_active(self) -> Generator[LeaderHint, None, None]:
        """Yield the leader, then each successor."""
        return _iterate(self._client.watch_active())

    def follow_log(
        self, *, past: int = 0, lowest: str = "debug", channel: str = ""
    ) -> Generator[LogLine | LinesDropped, None, None]:
        """Yield the last lines of the cluster log, then each new line."""
        return _iterate(self._client.follow_log(past=past, lowest=lowest, channel=channel))

    def _elsewhere(
        self,
        attempts: Attempts,
        earlier: Mapping[str, str],
        refusal: NotActiveError | None,
        left_s: float,
    ) -> Answer:
        return run(self._client.execute_after(attempts, earlier, refusal, timeout_s=left_s))

    def _superseded(self, name: str) -> bool:
        return run(self._client.leads_elsewhere(name))


class BlockingMaps:
    """``mgr.client.maps.Maps`` for threads: the same guarantees and errors."""

    def __init__(self, maps: Maps) -> None:
        """Wrap ``maps``; ``Client`` calls this."""
        self._maps = maps

    def get(self, name: str) -> Map | None:
        """Return a published map or a document of the manager; None if there is none."""
        return run(self._maps.get(name))

    def versions(self) -> dict[str, int]:
        """Return the version of every published map, by name."""
        return run(self._maps.versions())

    def set(
        self, name: str, document: Mapping[str, Any], *, expected_version: int | None = None
    ) -> int:
        """Publish ``document`` and return its new version."""
        return run(self._maps.set(name, document, expected_version=expected_version))

    def remove(self, name: str, *, expected_version: int | None = None) -> None:
        """Remove a map; no error if there is none."""
        run(self._maps.remove(name, expected_version=expected_version))

    def watch(self, prefix: str = "") -> Generator[Map | MapRemoved, None, None]:
        """Yield each map whose name begins with ``prefix``, then every change."""
        return _iterate(self._maps.watch(prefix))


class SharedLoop:
    """The event loop of all blocking clients; its thread is started at the first use."""

    def __init__(self, *, check_interval_s: float = CHECK_INTERVAL_S) -> None:
        """Check every ``check_interval_s`` of a waiting call that the loop's thread exists."""
        self._check_interval_s = check_interval_s
        self._starting = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def loop(self) -> asyncio.AbstractEventLoop:
        """Return the running loop, started if it is the first use.

        Raises:
            UnreachableError: Its thread is gone, and with it every connection.

        """
        with self._starting:
            if self._loop is None:
                loop = self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=_run, args=(loop,), name=THREAD, daemon=True)
                self._thread.start()
            elif not self._is_alive():
                raise UnreachableError(
                    f"the thread {THREAD} is gone, as in a forked process: "
                    "fork first, then make clients and daemons"
                )
            return self._loop

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run ``work`` on the loop, wait for it and return its result.

        Raises:
            UnreachableError: The loop's thread is gone: ``work`` did not begin.
            InternalError: The thread ended meanwhile: whether ``work`` was done is unknown.
            RuntimeError: This is the loop's own thread.

        """
        try:
            loop = self._loop_from_outside()
        except BaseException:
            work.close()
            raise
        future = asyncio.run_coroutine_threadsafe(work, loop)
        try:
            while True:
                try:
                    return future.result(self._check_interval_s)
                except TimeoutError:
                    # Either the check is due, or the work itself raised TimeoutError.
                    if future.done():
                        return future.result()
                    if not self._is_alive():
                        raise InternalError(
                            f"the thread {THREAD} is gone: whether the call was done is unknown"
                        ) from None
        finally:
            # No effect on a future that is done; ends the work after an interrupt.
            future.cancel()

    def _loop_from_outside(self) -> asyncio.AbstractEventLoop:
        if threading.current_thread() is self._thread:
            raise RuntimeError(
                "a blocking call on the loop of blocking calls would wait for itself: "
                "make it from another thread, in a plain handler function for example"
            )
        return self.loop()

    def _is_alive(self) -> bool:
        # False also in a forked process, where only the thread that forked exists.
        return self._thread is not None and self._thread.is_alive()


SHARED_LOOP: Final = SharedLoop()
"""The loop of this process; blocking daemons use it as well."""


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run ``work`` on the shared loop and wait for it; raises as ``SharedLoop.run``."""
    return SHARED_LOOP.run(work)


def _run(loop: asyncio.AbstractEventLoop) -> None:
    while True:
        try:
            loop.run_forever()
        except BaseException:  # the edge of the program's code: all its clients share this loop
            log.exception("exception on the event loop of blocking clients, loop goes on")
        else:
            return


def _iterate(source: AsyncGenerator[T, None]) -> Generator[T, None, None]:
    try:
        with contextlib.suppress(StopAsyncIteration):
            while True:
                yield run(_next(source))
    finally:
        run(_close(source))


async def _next(source: AsyncGenerator[T, None]) -> T:
    return await anext(source)


async def _close(source: AsyncGenerator[Any, None]) -> None:
    await source.aclose()

"""The library with which a program joins the fleet: ``Daemon``, and ``AsyncDaemon`` for asyncio.

A daemon is a member while its ``with`` block runs. The program counts, sets its status and answers
commands; finding the active manager and following it through failovers is done here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Final, Self

from mgr.client.async_client import TIMEOUT_S
from mgr.client.blocking import SHARED_LOOP, run
from mgr.client.daemon.membership import LEAVE_S, Membership, PeerConnector
from mgr.client.daemon.program import Program
from mgr.client.messages import Answer
from mgr.client.peers import Peers, addresses_in
from mgr.errors import UnreachableError
from mgr.tls import Tls

CLOSE_S: Final = LEAVE_S + 1.0

log = logging.getLogger(__name__)


class BaseDaemon(Program):
    """A program and its membership: the common part of ``Daemon`` and ``AsyncDaemon``.

    Attributes:
        joined: A manager takes its reports now.
        replaced: Another program joined under this name. This one has stopped for good.

    """

    def __init__(  # noqa: PLR0913 - its identity and addresses, each named
        self,
        type: str,  # noqa: A002 - its name on the wire
        id: str,  # noqa: A002 - as above
        hosts: str | Iterable[str],
        *,
        host: str = "",
        version: str = "",
        metadata: Mapping[str, object] | None = None,
        on_replaced: Callable[[], None] | None = None,
        tls: Tls | None = None,
    ) -> None:
        """Make the daemon ``<type>.<id>``; nothing is sent yet.

        Args:
            type: Kind of the daemon: letters, digits, ``_`` and ``-``.
            id: Unique among the daemons of its type.
            hosts: Some managers, ``host:port``: one that answers is enough to learn all.
            host: Machine on which it runs; this machine's name by default.
            version: Of the program.
            metadata: Facts that do not change while it runs.
            on_replaced: Called once, on the commands' thread, when another program takes the name.
            tls: Certificates to trust and to show; None means plaintext.

        Raises:
            InvalidArgumentError: Type or id is invalid.
            InvalidSettingError: One of the hosts is no address.

        """
        super().__init__(
            type, id, host=host, version=version, metadata=metadata, on_replaced=on_replaced
        )
        self._peers = Peers(addresses_in(hosts), tls)
        self._tls = tls
        self._membership = Membership(self, PeerConnector(self._peers))

    @property
    def joined(self) -> bool:
        """Whether a manager takes its reports now."""
        return self._membership.joined

    @property
    def replaced(self) -> bool:
        """Whether another program has the name."""
        return self._membership.replaced

    async def _run_membership(self) -> None:
        """Keep the daemon joined until replaced or cancelled; failures are logged, not raised."""
        try:
            async with _renewing(self._peers, self._tls):
                await self._membership.run()
            if self.replaced and self.on_replaced is not None:
                await self.command_thread.submit(self.on_replaced)
        except Exception:  # the edge of the program: its block must not end for this
            log.exception(
                "daemon's background task failed: it does not report any more",
                extra={"daemon": self.name},
            )

    async def _leave(self, running: asyncio.Task[None], *, forget: bool) -> None:
        await self._membership.leave(running, forget=forget)
        self.command_thread.close()
        self.gauge_thread.close()

    async def _execute(
        self,
        words: str | Sequence[str],
        arguments: dict[str, Any] | None,
        *,
        data: bytes,
        timeout_s: float,
        request_id: str | None,
    ) -> Answer:
        return await self._membership.execute(
            words.split() if isinstance(words, str) else words,
            arguments,
            data=data,
            timeout_s=timeout_s,
            request_id=request_id,
        )

    async def _wait_joined(self, timeout_s: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not self.joined and not self.replaced:
                    await self._membership.wait_changed()
        return self.joined


class AsyncDaemon(BaseDaemon):
    """A member of the fleet: ``async with AsyncDaemon("web", "eu-1", hosts) as daemon``.

    Entering the block returns at once, whether or not a manager answers. Leaving it removes the
    daemon from the fleet, in at most ``LEAVE_S``. If the block raises an ``Exception``, the daemon
    is not removed, and the manager reports it as stale.
    """

    _tasks: asyncio.TaskGroup
    _running: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Begin to join, without waiting for a manager.

        Raises:
            RuntimeError: It was a member before: a daemon joins once.

        """
        if self._running is not None:
            raise RuntimeError(f"{self.name} has been a member already: make another daemon")
        self._tasks = asyncio.TaskGroup()
        await self._tasks.__aenter__()
        self._running = self._tasks.create_task(self._run_membership())
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._running is not None:
            await self._leave(self._running, forget=_is_orderly(kind))
        # Without the block's own exception: the task group would wrap it.
        await self._tasks.__aexit__(None, None, None)
        await self._peers.close()

    def report_soon(self) -> None:
        """Have changes of the state reported within half a period, instead of a whole one."""
        self._membership.report_soon()

    async def wait_joined(self, timeout_s: float = TIMEOUT_S) -> bool:
        """Wait until a manager takes its reports; False if none does in time, or if replaced."""
        return await self._wait_joined(timeout_s)

    async def execute(
        self,
        words: str | Sequence[str],
        arguments: dict[str, Any] | None = None,
        *,
        data: bytes = b"",
        timeout_s: float = TIMEOUT_S,
        request_id: str | None = None,
    ) -> Answer:
        """Run one command of the manager over the report stream.

        ``words`` may be one string, split at blanks. Guarantees and errors are those of
        ``AsyncClient.execute``: a mutating command is applied at most once. Until a manager
        takes the daemon's reports the command waits, ``timeout_s`` at most.

        Raises:
            UnreachableError: No manager in time; not started; the membership is over.

        """
        if self._running is None:
            raise UnreachableError(f"{self.name} was not started")
        return await self._execute(
            words, arguments, data=data, timeout_s=timeout_s, request_id=request_id
        )


class Daemon(BaseDaemon):
    """``AsyncDaemon`` for threads: ``with Daemon("web", "eu-1", hosts) as daemon``.

    No method waits for a manager, except ``execute`` and ``wait_joined``, which have limits. All
    daemons and clients of a process share one loop in one thread (docs/adr/0014). A daemon
    belongs to the process that started it; in a forked process it does nothing. Fork first, then
    join.
    """

    _future: Future[None] | None = None
    _process = 0
    _stop: asyncio.Event
    _forget = True
    _closed = False

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close(forget=_is_orderly(kind))

    def start(self) -> None:
        """Begin to join, without waiting for a manager; entering the block does the same.

        Has no effect on a daemon that is started already.

        Raises:
            RuntimeError: It was closed, or started before a fork: a daemon joins once.
            UnreachableError: This process was forked from one that had blocking clients.

        """
        if self._future is None:
            loop = SHARED_LOOP.loop()
            self._stop = asyncio.Event()
            self._process = os.getpid()
            self._future = asyncio.run_coroutine_threadsafe(self._run(), loop)
        elif self._closed or not self._in_own_process():
            what = (
                "was closed" if self._in_own_process() else "belongs to the process that started it"
            )
            raise RuntimeError(f"{self.name} {what}: make another daemon")

    def close(self, *, forget: bool = True) -> None:
        """Stop reporting, within ``CLOSE_S``.

        With ``forget`` the manager removes the daemon; otherwise it reports it as stale.
        """
        if self._future is None or not self._in_own_process():
            return
        self._closed = True
        self._forget = forget
        SHARED_LOOP.loop().call_soon_threadsafe(self._stop.set)
        try:
            with contextlib.suppress(TimeoutError):
                self._future.result(CLOSE_S)
        finally:
            self._future.cancel()

    def wait_joined(self, timeout_s: float = TIMEOUT_S) -> bool:
        """Wait until a manager takes its reports; False if none does in time, or if replaced."""
        return self._in_own_process() and run(self._wait_joined(timeout_s))

    def execute(
        self,
        words: str | Sequence[str],
        arguments: dict[str, Any] | None = None,
        *,
        data: bytes = b"",
        timeout_s: float = TIMEOUT_S,
        request_id: str | None = None,
    ) -> Answer:
        """Run one command of the manager; as ``AsyncDaemon.execute``."""
        if not self._in_own_process():
            raise UnreachableError(f"{self.name} was not started in this process")
        return run(
            self._execute(words, arguments, data=data, timeout_s=timeout_s, request_id=request_id)
        )

    def _in_own_process(self) -> bool:
        # A fork copies no threads: without the loop's thread every call would wait for ever.
        return self._process == os.getpid()

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(self._run_membership())
            await self._stop.wait()
            await self._leave(running, forget=self._forget)
        await self._peers.close()


@contextlib.asynccontextmanager
async def _renewing(peers: Peers, tls: Tls | None) -> AsyncGenerator[None, None]:
    """Keep the certificate of a daemon that joined by token renewed while the block runs."""
    if tls is None or not tls.renews:
        yield
        return
    from mgr.client.renewal import keep_renewed  # noqa: PLC0415 - loads cryptography

    async with asyncio.TaskGroup() as tasks:
        renewing = tasks.create_task(keep_renewed(peers, tls))
        try:
            yield
        finally:
            renewing.cancel()


def _is_orderly(kind: type[BaseException] | None) -> bool:
    """Whether a block ended on purpose: by itself, Ctrl-C or ``sys.exit``, not by an exception."""
    return kind is None or not issubclass(kind, Exception)

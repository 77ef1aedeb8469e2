"""Keeps a program joined to the active manager until the program leaves or is replaced.

The program never waits for a manager, and nothing piles up while no manager answers: counters go
on counting, and the next active gets the complete state.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from tenacity import wait_exponential_jitter

from mgr.client.daemon.program import Program
from mgr.client.daemon.report_session import ReopenStreamError, ReportSession
from mgr.client.daemon.report_stream import ReportStream
from mgr.client.leader_search import LeaderHint, LeaderSearch, newest, wait_at_most
from mgr.client.messages import Answer
from mgr.client.peers import Peers
from mgr.client.pending import PendingCommands, Stream
from mgr.clock import utc_now
from mgr.errors import (
    InternalError,
    InvalidArgumentError,
    MgrError,
    NotActiveError,
    NotAuthorizedError,
    OverloadedError,
    ReplacedError,
    ReportRefusedError,
    UnreachableError,
)
from mgr.retry_log import RetryLog
from mgr.rpc.v1 import cluster_pb2
from mgr.rpc.v1.cluster_pb2 import ReportRequest
from mgr.rpc.v1.command_pb2 import SessionRequest
from mgr.waiting import Broadcast

SETTLE_S: Final = 0.1
"""Pause before the first join: a program declares commands and counters in its first lines."""
LEAVE_S: Final = 2.0
"""How long leaving may take."""
REJOIN_WITHIN_S: Final = 1.0
"""The time over which daemons spread their joins, until a manager configures another one."""
REJOIN_WITHIN_S_MAX: Final = 600.0
REFUSED_PAUSE_S: Final = 30.0
"""Pause after a refusal: a manager will refuse the same again until the author changes it."""
SHORT_STREAM_S: Final = 10.0
"""A stream that lived for less counts as a failure: the next pause is longer."""
PAUSE_S_MAX: Final = 5.0
SEARCH_PAUSE: Final = wait_exponential_jitter(multiplier=0.05, max=PAUSE_S_MAX, jitter=0.1)
"""Pause between two questions to one manager: a waiting fleet must not be a load."""
REFUSAL_ERRORS: Final = (InvalidArgumentError, NotAuthorizedError, ReportRefusedError)
OVERLOAD_ERRORS: Final = (InternalError, OverloadedError)
"""Errors of a server that sheds calls because too many come at once."""

NO_ACTIVE: Final = "no active manager found, still searching: %s"

log = logging.getLogger(__name__)


class ManagerConnector(Protocol):
    """Connections to the managers."""

    def search(self) -> AbstractAsyncContextManager[LeaderSearch]:
        """Search for the active while the block lasts."""
        ...

    def report(self, address: str) -> Stream:
        """Open a stream to the manager at ``address``."""
        ...


class PeerConnector:
    """Connections by the channels of ``Peers``."""

    def __init__(self, peers: Peers) -> None:
        """Connect to ``peers``."""
        self._peers = peers

    def search(self) -> AbstractAsyncContextManager[LeaderSearch]:
        """Search for the active."""
        return LeaderSearch(self._peers, pause=SEARCH_PAUSE)

    def report(self, address: str) -> Stream:
        """Open a stream."""
        return self._peers.at(address).cluster.Report()


@dataclass(frozen=True, slots=True)
class Pause:
    """How long to pause before the next attempt to join.

    Attributes:
        least_s: Seconds that pass in any case.
        longer_s: Seconds after these, which end as soon as a newer active is known.

    """

    least_s: float = 0.0
    longer_s: float = 0.0


@dataclass
class Backoff:
    """Pauses before the next attempt to join."""

    uniform: Callable[[float, float], float] = random.uniform
    rejoin_within_s: float = REJOIN_WITHIN_S
    _failures: int = field(default=0, init=False)

    def spread_s(self) -> float:
        """Return a random part of the time over which the fleet spreads its joins."""
        return self.uniform(0, self.rejoin_within_s)

    def after_failure_s(self, error: MgrError) -> float:
        """Return the pause after a failed attempt: longer each time, up to ``PAUSE_S_MAX``."""
        if isinstance(error, REFUSAL_ERRORS):
            return self.after_refusal_s()
        if isinstance(error, OVERLOAD_ERRORS):
            return self.spread_s()
        self._failures += 1
        longest_s = min(PAUSE_S_MAX, 0.1 * 2 ** min(self._failures, 10))
        return self.uniform(longest_s / 2, longest_s)

    def after_refusal_s(self) -> float:
        """Return the pause after a refusal that would only be repeated."""
        return self.uniform(REFUSED_PAUSE_S / 2, REFUSED_PAUSE_S)

    def after_stream(self, error: MgrError, lived_s: float) -> Pause:
        """Return the pause after a stream that lived for ``lived_s``.

        Streams that end early make pauses longer, so that one manager is not joined again and
        again. A newer active is another manager: many failovers must not keep a program away.
        """
        if lived_s >= SHORT_STREAM_S:
            self._failures = 0
            return Pause(self.spread_s())
        least_s, whole_s = self.spread_s(), self.after_failure_s(error)
        if isinstance(error, REFUSAL_ERRORS):
            return Pause(whole_s)
        return Pause(least_s, max(0.0, whole_s - least_s))


class _RetryElsewhereError(Exception):
    """This manager does not take the program's reports now; another one may."""

    def __init__(self, error: MgrError) -> None:
        super().__init__(str(error))
        self.error = error


class Membership:
    """Keeps one program a member of the fleet.

    Attributes:
        replaced: Another program joined under the same name; this one has stopped.

    """

    def __init__(
        self,
        program: Program,
        connector: ManagerConnector,
        *,
        backoff: Backoff | None = None,
    ) -> None:
        """Join ``program`` to managers reached by ``connector``; nothing happens before ``run``."""
        self.replaced = False
        self._program = program
        self._connector = connector
        self._backoff = backoff or Backoff()
        self._config = cluster_pb2.Configure()
        self._hint: LeaderHint | None = None
        self._was_member = False
        self._leaving = False
        self._unhelpful: dict[str, str] = {}
        self._changed = Broadcast()
        self._over = False
        self._tasks = asyncio.TaskGroup()
        # Made here, not in ``run``: a program may execute a command before ``run`` begins.
        self._pending = PendingCommands(_send_call, self._tasks)
        self._report_session: ReportSession | None = None

    @property
    def joined(self) -> bool:
        """Whether a manager takes the program's reports now."""
        return self._report_session is not None

    async def run(self) -> None:
        """Keep the program joined until it is replaced or leaves. Can be called only once."""
        try:
            async with self._tasks:
                await asyncio.sleep(SETTLE_S)
                pause = Pause()
                while not (self.replaced or self._leaving):
                    pause = await self._join_and_serve(pause.longer_s)
                    await asyncio.sleep(pause.least_s)
        finally:
            self._end()

    def report_soon(self) -> None:
        """Send the next report early, if a manager takes reports now; on the loop."""
        if self._report_session is not None:
            self._report_session.report_soon()

    async def wait_changed(self) -> None:
        """Wait until ``joined`` or ``replaced`` may have changed."""
        await self._changed.wait()

    async def leave(self, running: asyncio.Task[None], *, forget: bool) -> None:
        """Send a last report, then end the task ``running``; in at most ``LEAVE_S``.

        With ``forget`` the manager removes the daemon; otherwise it will report it as stale.
        """
        self._leaving = True
        if self._report_session is not None:
            self._report_session.leave(forget=forget)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LEAVE_S):
                    await asyncio.wait([running])
        running.cancel()
        # Not left to ``run``: a task cancelled before its first step never enters it.
        self._end()

    async def execute(
        self,
        words: Sequence[str],
        arguments: dict[str, Any] | None,
        *,
        data: bytes,
        timeout_s: float,
        request_id: str | None,
    ) -> Answer:
        """Run one command of the manager, over the report stream.

        Until there is a stream the command waits, ``timeout_s`` at most.

        Raises:
            UnreachableError: The membership is over, or ended while the command waited.

        """
        if self._over:
            raise self._not_member_error()
        return await self._pending.execute(
            words,
            arguments,
            data=data,
            limit_s=timeout_s,
            request_id=request_id,
            unhelpful=self._unhelpful,
        )

    def _end(self) -> None:
        self._over = True
        self._pending.end(self._not_member_error())
        self._notify()

    def _not_member_error(self) -> UnreachableError:
        return UnreachableError(f"{self._program.name} is no longer a member: make another daemon")

    async def _join_and_serve(self, pause_s: float) -> Pause:
        """Join and report until the stream ends; return how long to pause before the next join.

        First pauses for ``pause_s``, or until a newer active is known.
        """
        loop = asyncio.get_running_loop()
        begun_s = loop.time()
        error: MgrError
        try:
            stream = await self._join(pause_s)
            begun_s = loop.time()
            error = await self._serve(stream)
        except MgrError as refused:
            error = refused
        except Exception:  # a fault of this library must not end the program
            log.exception("membership failed, rejoining", extra={"daemon": self._program.name})
            return Pause(self._backoff.after_refusal_s())
        return self._pause_after(error, loop.time() - begun_s)

    def _pause_after(self, error: MgrError, lived_s: float) -> Pause:
        if self._leaving:
            return Pause()
        if isinstance(error, ReplacedError):
            self.replaced = True
            log.error(
                "daemon replaced: another program joined under this name; reporting has stopped",
                extra={"daemon": self._program.name},
            )
            return Pause()
        if isinstance(error, ReopenStreamError):
            return Pause()
        self._remember_hint(error)
        level = logging.ERROR if isinstance(error, REFUSAL_ERRORS) else logging.WARNING
        log.log(
            level,
            "active manager lost, rejoining",
            extra={"daemon": self._program.name, "why": str(error)},
        )
        return self._backoff.after_stream(error, lived_s)

    # -- joining ----------------------------------------------------------------------------

    async def _join(self, pause_s: float) -> ReportStream:
        """Open a stream to the active, however long that takes; a long search is logged.

        Waits for up to ``pause_s`` for a newer active than the last before it joins that one.

        Raises:
            ReplacedError: Another program joined under this name.
            InvalidArgumentError: The manager refuses the opening message.
            NotAuthorizedError: The certificate does not allow joining under this name.
            ReportRefusedError: As ``InvalidArgumentError``.

        """
        last = self._config.term if pause_s else 0
        if (hint := self._choose_leader(None)) is not None and hint.term > last:
            with contextlib.suppress(_RetryElsewhereError):
                return await self._open(hint)
        now = asyncio.get_running_loop().time
        retry_log = RetryLog(log, now(), daemon=self._program.name)
        async with self._connector.search() as search:
            self._unhelpful = search.unhelpful
            pause_s, tried = PAUSE_S_MAX, 0
            begun_s = now()
            await wait_at_most(pause_s, search, last)
            while True:
                await wait_at_most(pause_s, search, tried)
                leader = self._choose_leader(search.best)
                if leader is None:
                    retry_log.failing(now(), NO_ACTIVE, _reasons(search.unhelpful))
                    continue
                waited_s = now() - begun_s
                if waited_s > self._backoff.rejoin_within_s:
                    # The whole fleet waited for this manager and finds it at the same moment, so
                    # the joins are spread. Also in the same term: an active may have been
                    # suspended for longer than streams wait.
                    await asyncio.sleep(self._backoff.spread_s())
                try:
                    stream = await self._open(leader)
                except _RetryElsewhereError as elsewhere:
                    retry_log.failing(now(), NO_ACTIVE, _reasons(search.unhelpful))
                    tried = leader.term
                    pause_s = self._backoff.after_failure_s(elsewhere.error)
                    begun_s = now()
                else:
                    retry_log.recovered(now(), "active manager found: %s", leader.address)
                    return stream

    def _choose_leader(self, found: LeaderHint | None) -> LeaderHint | None:
        """Return the newer of ``found`` and the last hint, which is used only once."""
        hint, self._hint = self._hint, None
        return newest(hint, found)

    async def _open(self, leader: LeaderHint) -> ReportStream:
        stream = ReportStream(self._connector.report(leader.address), leader)
        try:
            answer = await stream.open(ReportRequest(open=self._open_message()))
        except (ReplacedError, *REFUSAL_ERRORS):
            stream.call.cancel()
            raise
        except MgrError as error:
            stream.call.cancel()
            self._unhelpful[leader.address] = str(error)
            self._remember_hint(error)
            raise _RetryElsewhereError(error) from None
        self._config = answer.configure
        return stream

    def _remember_hint(self, error: MgrError) -> None:
        """Remember the leader that a manager named instead of itself."""
        if isinstance(error, NotActiveError) and error.active_address:
            self._hint = LeaderHint(error.term, error.active_address, error.active_name)

    def _open_message(self) -> cluster_pb2.Open:
        identity = self._program.identity
        opening = cluster_pb2.Open(
            type=identity.type,
            id=identity.id,
            host=identity.host,
            version=identity.version,
            metadata=dict(identity.metadata),
            incarnation=identity.incarnation,
            commands=self._program.handlers.descriptions(),
            rejoins=self._was_member,
        )
        opening.now.FromDatetime(utc_now())
        return opening

    async def _serve(self, stream: ReportStream) -> MgrError:
        """Report until the stream ends; return why it ended."""
        session = self._report_session = ReportSession(
            stream, self._config, self._program, self._pending
        )
        self._was_member = True
        fields = {"daemon": self._program.name, "manager": stream.leader.address}
        log.info("daemon joined", extra={**fields, "term": self._config.term})
        self._notify()
        try:
            return await session.run()
        finally:
            within_s = session.config.rejoin_within.ToNanoseconds() / 1e9
            self._backoff.rejoin_within_s = min(within_s, REJOIN_WITHIN_S_MAX)
            self._report_session = None
            self._notify()

    def _notify(self) -> None:
        self._changed.notify()


def _reasons(unhelpful: Mapping[str, str]) -> str:
    # In the message itself, not in fields: a program's own log seldom shows fields, and its author
    # has nothing else to go by when an address is wrong or certificates do not fit.
    return "; ".join(f"{address}: {why}" for address, why in sorted(unhelpful.items()))


async def _send_call(stream: ReportStream, message: SessionRequest) -> None:
    stream.send(ReportRequest(call=message))

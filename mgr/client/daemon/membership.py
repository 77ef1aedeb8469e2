"""A program's membership: joined to the active, whoever that is, until it leaves or is replaced.

Nothing here waits for a manager at the program's cost. While nobody answers, nothing piles up:
counters go on counting, and whoever leads next is told everything anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from tenacity import wait_exponential_jitter

from mgr.client.absence import Absence
from mgr.client.daemon.program import Program
from mgr.client.daemon.report_session import AnewError, Attendance
from mgr.client.daemon.report_stream import Line
from mgr.client.leader_search import Search, Sighting, wait_at_most
from mgr.client.messages import Answer
from mgr.client.peers import Peers
from mgr.client.pending import Outstanding, Stream
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
from mgr.rpc.v1 import cluster_pb2
from mgr.rpc.v1.cluster_pb2 import ReportRequest
from mgr.rpc.v1.command_pb2 import SessionRequest

SETTLE_S: Final = 0.1
"""Before the first opening: a program says its commands and counters in its first lines."""
LEAVE_S: Final = 2.0
"""How long leaving may take."""
REJOIN_WITHIN_S: Final = 1.0
"""The spread of arrivals, until a manager says another one."""
REJOIN_WITHIN_S_MAX: Final = 600.0
REFUSED_PAUSE_S: Final = 30.0
"""What a manager refuses it will refuse again: the author must act, not the program."""
BRIEF_S: Final = 10.0
"""A stream that did not live so long counts as a failure: the next pause is longer."""
PAUSE_S_MAX: Final = 5.0
SEARCH_PAUSE: Final = wait_exponential_jitter(multiplier=0.05, max=PAUSE_S_MAX, jitter=0.1)
"""Between two questions to one manager. A fleet that waits must not be a load."""
REFUSED: Final = (InvalidArgumentError, NotAuthorizedError, ReportRefusedError)
CROWDED: Final = (InternalError, OverloadedError)
"""What a server says that sheds calls because too many come at once."""

log = logging.getLogger(__name__)


class Road(Protocol):
    """The way to the managers."""

    def search(self) -> AbstractAsyncContextManager[Search]:
        """Look for the active, as long as the block lasts."""
        ...

    def report(self, address: str) -> Stream:
        """Open a stream to the manager at ``address``."""
        ...


class Peered:
    """The road by way of known managers."""

    def __init__(self, peers: Peers) -> None:
        """Ask ``peers``."""
        self._peers = peers

    def search(self) -> AbstractAsyncContextManager[Search]:
        """Look for the active."""
        return Search(self._peers, pause=SEARCH_PAUSE)

    def report(self, address: str) -> Stream:
        """Open a stream."""
        return self._peers.at(address).cluster.Report()


@dataclass
class Patience:
    """How long to wait before the next attempt."""

    uniform: Callable[[float, float], float] = random.uniform
    rejoin_within_s: float = REJOIN_WITHIN_S
    _failures: int = field(default=0, init=False)

    def spread_s(self) -> float:
        """A random part of the span in which a fleet arrives."""
        return self.uniform(0, self.rejoin_within_s)

    def after_failure_s(self, error: MgrError) -> float:
        """The pause after an attempt that brought nothing: longer each time, up to a limit."""
        if isinstance(error, REFUSED):
            return self.after_refusal_s()
        if isinstance(error, CROWDED):
            return self.spread_s()
        self._failures += 1
        longest_s = min(PAUSE_S_MAX, 0.1 * 2 ** min(self._failures, 10))
        return self.uniform(longest_s / 2, longest_s)

    def after_refusal_s(self) -> float:
        """The pause after what would only be the same again."""
        return self.uniform(REFUSED_PAUSE_S / 2, REFUSED_PAUSE_S)

    def after_life_s(self, error: MgrError, lived_s: float) -> float:
        """The pause after a stream that lived so long."""
        if lived_s >= BRIEF_S:
            self._failures = 0
            return self.spread_s()
        return max(self.spread_s(), self.after_failure_s(error))


class _ElsewhereError(Exception):
    """This manager is no help now."""

    def __init__(self, why: MgrError) -> None:
        super().__init__(str(why))
        self.why = why


class Membership:
    """Keeps one program a member.

    Attributes:
        replaced: Another program has its name; this one has stopped.

    """

    def __init__(
        self,
        program: Program,
        road: Road,
        *,
        patience: Patience | None = None,
    ) -> None:
        """Join for ``program`` by way of ``road``; nothing happens before ``run``."""
        self.replaced = False
        self._program = program
        self._road = road
        self._patience = patience or Patience()
        self._configured = cluster_pb2.Configure()
        self._hint: Sighting | None = None
        self._was_member = False
        self._leaving = False
        self._silent: dict[str, str] = {}
        self._changed = asyncio.Event()
        self._over = False
        self._tasks = asyncio.TaskGroup()
        # From the start: a command may be a program's first word, before ``run`` has its turn.
        self._outstanding = Outstanding(_call, self._tasks)
        self._attendance: Attendance | None = None

    @property
    def joined(self) -> bool:
        """Whether a manager takes its reports now."""
        return self._attendance is not None

    async def run(self) -> None:
        """Be a member until replaced; ``leave`` ends it earlier. Once, and not again."""
        try:
            async with self._tasks:
                await asyncio.sleep(SETTLE_S)
                while not (self.replaced or self._leaving):
                    pause_s = await self._live()
                    await asyncio.sleep(pause_s)
        finally:
            self._end()

    async def changed(self) -> None:
        """Wait until ``joined`` or ``replaced`` may have changed."""
        await self._changed.wait()

    async def leave(self, running: asyncio.Task[None], *, forget: bool) -> None:
        """Say what was counted last, then end ``running``; in at most ``LEAVE_S``.

        With ``forget`` it is for good; else the program will be missed.
        """
        self._leaving = True
        if self._attendance is not None:
            self._attendance.leave(forget=forget)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LEAVE_S):
                    await asyncio.wait([running])
        running.cancel()
        # Cancelled before its first turn, ``run`` does not even begin.
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
        """Run one command of the manager, over the stream that reports.

        Until there is one the command waits, within its limit.

        Raises:
            UnreachableError: The membership is over, or ended while the command waited.

        """
        if self._over:
            raise self._no_member()
        return await self._outstanding.execute(
            words,
            arguments,
            data=data,
            limit_s=timeout_s,
            request_id=request_id,
            silent=self._silent,
        )

    def _end(self) -> None:
        self._over = True
        self._outstanding.end(self._no_member())
        self._tell()

    def _no_member(self) -> UnreachableError:
        return UnreachableError(f"{self._program.name} is no member any more")

    async def _live(self) -> float:
        """Join, and be a member until the stream ends; how long to pause then."""
        loop = asyncio.get_running_loop()
        begun_s = loop.time()
        error: MgrError
        try:
            line = await self._join()
            begun_s = loop.time()
            error = await self._serve(line)
        except MgrError as refused:
            error = refused
        except Exception:  # the edge of the program, which must not end for our faults
            log.exception("the membership failed", extra={"daemon": self._program.name})
            return self._patience.after_refusal_s()
        return self._judge(error, loop.time() - begun_s)

    def _judge(self, error: MgrError, lived_s: float) -> float:
        if self._leaving:
            return 0
        if isinstance(error, ReplacedError):
            self.replaced = True
            log.error(
                "replaced: another program has joined under this name; this one reports no more",
                extra={"daemon": self._program.name},
            )
            return 0
        if isinstance(error, AnewError):
            return 0
        self._follow(error)
        level = logging.ERROR if isinstance(error, REFUSED) else logging.WARNING
        log.log(
            level,
            "the active manager is lost; rejoins by itself",
            extra={"daemon": self._program.name, "why": str(error)},
        )
        return self._patience.after_life_s(error, lived_s)

    # -- joining ----------------------------------------------------------------------------

    async def _join(self) -> Line:
        """Open a stream to the active, however long that takes; that it takes long is logged.

        Raises:
            ReplacedError: The name is another program's.
            InvalidArgumentError: It is refused as it is.
            NotAuthorizedError: Its certificate is not good for joining under this name.
            ReportRefusedError: As the first.

        """
        if (hint := self._newest(None)) is not None:
            with contextlib.suppress(_ElsewhereError):
                return await self._open(hint)
        now = asyncio.get_running_loop().time
        absence = Absence(self._program.name, now())
        async with self._road.search() as search:
            self._silent = search.silent
            pause_s, tried = PAUSE_S_MAX, 0
            begun_s = now()
            while True:
                await wait_at_most(pause_s, search, tried)
                sighting = self._newest(search.best)
                if sighting is None:
                    absence.lasts(now(), search.silent)
                    continue
                waited_s = now() - begun_s
                if waited_s > self._patience.rejoin_within_s:
                    # The whole fleet waited for this one, and hears of it in this moment. Also of
                    # the same term: an active may be suspended for longer than streams wait.
                    await asyncio.sleep(self._patience.spread_s())
                try:
                    line = await self._open(sighting)
                except _ElsewhereError as elsewhere:
                    absence.lasts(now(), search.silent)
                    tried = sighting.term
                    pause_s = self._patience.after_failure_s(elsewhere.why)
                    begun_s = now()
                else:
                    absence.over(now(), sighting.address)
                    return line

    def _newest(self, found: Sighting | None) -> Sighting | None:
        """Whom to ask: who was hinted at, once, or ``found``."""
        hint, self._hint = self._hint, None
        known = [seen for seen in (hint, found) if seen is not None]
        return max(known, key=lambda seen: seen.term, default=None)

    async def _open(self, sighting: Sighting) -> Line:
        line = Line(self._road.report(sighting.address), sighting)
        try:
            answer = await line.open(ReportRequest(open=self._opening()))
        except (ReplacedError, *REFUSED):
            line.stream.cancel()
            raise
        except MgrError as error:
            line.stream.cancel()
            self._silent[sighting.address] = str(error)
            self._follow(error)
            raise _ElsewhereError(error) from None
        self._configured = answer.configure
        return line

    def _follow(self, error: MgrError) -> None:
        """Remember whom a manager named instead of itself."""
        if isinstance(error, NotActiveError) and error.active_address:
            self._hint = Sighting(error.term, error.active_address, error.active_name)

    def _opening(self) -> cluster_pb2.Open:
        hello = self._program.hello
        opening = cluster_pb2.Open(
            type=hello.type,
            id=hello.id,
            host=hello.host,
            version=hello.version,
            metadata=dict(hello.metadata),
            incarnation=hello.incarnation,
            commands=self._program.handlers.descriptions(),
            rejoins=self._was_member,
        )
        opening.now.FromDatetime(utc_now())
        return opening

    async def _serve(self, line: Line) -> MgrError:
        """Report until the stream ends; why it did."""
        attendance = self._attendance = Attendance(
            line, self._configured, self._program, self._outstanding
        )
        self._was_member = True
        told = {"daemon": self._program.name, "manager": line.sighting.address}
        log.info("joined", extra={**told, "term": self._configured.term})
        self._tell()
        try:
            return await attendance.run()
        finally:
            within_s = attendance.configured.rejoin_within.ToNanoseconds() / 1e9
            self._patience.rejoin_within_s = min(within_s, REJOIN_WITHIN_S_MAX)
            self._attendance = None
            self._tell()

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


async def _call(line: Line, message: SessionRequest) -> None:
    line.say(ReportRequest(call=message))

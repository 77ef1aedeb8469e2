"""The asyncio client: finds the active, follows it through failovers, repeats what is safe."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Self

import grpc

from mgr.client.attempt import Attempts, refusal_after_attempt
from mgr.client.call import HEDGE_S, LeaderCall
from mgr.client.leader_cache import LeaderCache
from mgr.client.leader_search import FOLLOW_PAUSE, LeaderHint, LeaderSearch
from mgr.client.messages import (
    Answer,
    CommandInfo,
    LinesDropped,
    LogLine,
    Status,
    answer_in,
    command_in,
    request_of,
    status_in,
)
from mgr.client.peers import Peer, Peers, addresses_in
from mgr.client.span import client_span
from mgr.clock import CLOCK, Clock
from mgr.errors import (
    DeadlineExceededError,
    NotActiveError,
    OutcomeUnknownError,
    UnreachableError,
)
from mgr.rpc.status import error_of
from mgr.rpc.v1.command_pb2 import DescribeCommandsRequest
from mgr.rpc.v1.manager_pb2 import FailRequest, GetStatusRequest
from mgr.tls import Tls
from mgr.tracing import current

if TYPE_CHECKING:
    from mgr.client.maps import Maps
    from mgr.client.session import CommandSession

TIMEOUT_S: Final = 10.0
REACH_S: Final = 2.0


class AsyncClient:
    """Client of a cluster of managers; use it as ``async with AsyncClient(hosts) as client``.

    Safe for any number of concurrent calls of one event loop. Every method raises the classes
    of ``mgr.errors``: the active's refusal, or without an answer ``UnreachableError`` (nothing
    ran) and ``DeadlineExceededError`` (the outcome is unknown).
    """

    def __init__(
        self,
        hosts: str | Iterable[str],
        *,
        timeout_s: float = TIMEOUT_S,
        reach_s: float = REACH_S,
        tls: Tls | None = None,
        clock: Clock = CLOCK,
    ) -> None:
        """Take the addresses of some managers; nothing is sent yet.

        Args:
            hosts: ``host:port``. One that answers is enough to learn all; give several, so that
                the loss of one does no harm.
            timeout_s: How long a call may take in all, failovers included.
            reach_s: A call fails after this if not a single manager answers.
            tls: Certificates to trust and to show; None means plaintext.
            clock: For the deadlines.

        Raises:
            InvalidSettingError: One of the hosts is no address.

        """
        self._leader_cache = LeaderCache(Peers(addresses_in(hosts), tls), clock, reach_s=reach_s)
        self._timeout_s = timeout_s

    @cached_property
    def maps(self) -> Maps:
        """Reads, publishes and watches the documents that modules read."""
        # Imported when it is needed: most calls of mgrctl need neither maps nor streams.
        from mgr.client.maps import Maps  # noqa: PLC0415

        return Maps(self._leader_cache, timeout_s=self._timeout_s)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections; calls in progress fail."""
        await self._leader_cache.peers.close()

    async def execute(
        self,
        words: Sequence[str],
        arguments: dict[str, Any] | None = None,
        *,
        data: bytes = b"",
        timeout_s: float | None = None,
        request_id: str | None = None,
        changes: bool = True,
    ) -> Answer:
        """Run one command on the active manager, through failovers.

        A mutating command is applied at most once, however often it is sent: it carries a
        ``request_id``, a new one unless given. ``request_id=""`` turns this off. Without
        ``changes`` the command is known to only read: it carries no id, is repeated until it is
        answered, and fails with ``UnreachableError`` if it is not: nothing can have changed.

        Raises:
            MayHaveRunError: An earlier attempt ran, or may have run: its manager died during it,
                or its result is not stored any more.
            OutcomeUnknownError: An earlier attempt may have run, and the last one was refused.
            MgrError: See the class. A command that ran and failed does not raise: its answer's
                ``retval`` is negative.

        """
        chosen_id = (uuid.uuid4().hex if changes else "") if request_id is None else request_id
        with client_span() as trace:
            request = request_of(words, arguments, data, chosen_id, trace)
            attempts = Attempts(request, self._leader_cache.clock)
            limit_s = timeout_s or self._timeout_s
            return await self._execute(attempts, {}, timeout_s=limit_s, changes=changes)

    async def execute_anywhere(
        self, words: Sequence[str], arguments: dict[str, Any] | None = None
    ) -> Answer:
        """Run a command that any manager may execute while none leads, such as ``mgr set down``.

        If a manager leads, this is the same as ``execute``. Raises as ``execute`` does.
        """
        request = request_of(words, arguments, b"", uuid.uuid4().hex, current())
        attempts = Attempts(request, self._leader_cache.clock)
        earlier: dict[str, str] = {}
        for address in self._leader_cache.peers.addresses:
            peer = self._leader_cache.peers.at(address)
            try:
                call = peer.commands.Execute(attempts.next(), timeout=self._leader_cache.reach_s)
                return answer_in(await call)
            except grpc.aio.AioRpcError as failed:
                error = error_of(failed)
                if isinstance(error, DeadlineExceededError | OutcomeUnknownError):
                    earlier[address] = str(error)
                elif not isinstance(error, NotActiveError | UnreachableError):
                    how = "; ".join(f"{each}: {why}" for each, why in earlier.items())
                    raise (refusal_after_attempt(error, how) if earlier else error) from None
        return await self._execute(attempts, earlier, timeout_s=self._timeout_s)

    async def execute_after(
        self,
        attempts: Attempts,
        earlier: Mapping[str, str],
        refusal: NotActiveError | None,
        *,
        timeout_s: float,
    ) -> Answer:
        """Go on with a command that another connection has tried; raises as ``execute`` does.

        ``earlier`` says, by address, how attempts ended that may have run; ``refusal`` may name the
        active.
        """
        if refusal is not None and refusal.active_address:
            hint = LeaderHint(refusal.term, refusal.active_address, refusal.active_name)
            self._leader_cache.suggest(hint)
        return await self._execute(attempts, earlier, timeout_s=timeout_s, lost=bool(earlier))

    async def leads_elsewhere(self, name: str) -> bool:
        """Return whether a manager other than ``name`` leads; False if that is not known at once.

        Asked while ``name`` does not answer, which may be frozen.
        """
        with contextlib.suppress(TimeoutError):
            async with (
                asyncio.timeout(HEDGE_S),
                LeaderSearch(self._leader_cache.peers) as search,
                contextlib.aclosing(search.changes()) as changes,
            ):
                async for leader in changes:
                    return leader.name != name
        return False

    def session(self) -> CommandSession:
        """Return a stream for many commands: ``async with client.session() as session``."""
        from mgr.client.session import CommandSession  # noqa: PLC0415 - as for maps

        return CommandSession(self._leader_cache, timeout_s=self._timeout_s)

    async def describe(
        self, *, etag: str = "", timeout_s: float | None = None
    ) -> tuple[list[CommandInfo] | None, str]:
        """Return the active's commands and their etag; None for the list if ``etag`` is current."""
        request = DescribeCommandsRequest(etag=etag)
        call = LeaderCall(
            self._leader_cache,
            lambda peer, remaining_s: peer.commands.DescribeCommands(request, timeout=remaining_s),
            timeout_s=timeout_s or self._timeout_s,
            changes=False,
        )
        answer = await call.run()
        unchanged = bool(etag) and answer.etag == etag
        return None if unchanged else [command_in(each) for each in answer.commands], answer.etag

    async def fail(self, name: str = "", successor: str = "") -> str:
        """Make the active give up leadership; return its message.

        Raises:
            OutcomeUnknownError: The connection broke. The call is not repeated, because a
                repetition could depose the successor.

        """
        request = FailRequest(name=name, successor=successor)
        call = LeaderCall(
            self._leader_cache,
            lambda peer, remaining_s: peer.manager.Fail(request, timeout=remaining_s),
            timeout_s=self._timeout_s,
            repeatable=False,
        )
        return (await call.run()).message

    async def statuses(self, *, timeout_s: float | None = None) -> dict[str, Status | str]:
        """Return the state of each known manager, or why it did not answer, by address."""
        limit_s = timeout_s or min(self._timeout_s, self._leader_cache.reach_s)
        async with asyncio.TaskGroup() as tasks:
            asked = {
                address: tasks.create_task(self._status_at(address, limit_s))
                for address in self._leader_cache.peers.addresses
            }
        return {address: task.result() for address, task in asked.items()}

    async def status(self, *, timeout_s: float | None = None) -> Status:
        """Return the state of the cluster: the active's view, else the most recent other one.

        Raises:
            UnreachableError: No manager answered.

        """
        found = await self.statuses(timeout_s=timeout_s)
        known = [status for status in found.values() if isinstance(status, Status)]
        if not known:
            why = {address: str(status) for address, status in found.items()}
            raise UnreachableError("no manager answered", failures=why)
        return max(known, key=_status_rank)

    async def watch_active(self) -> AsyncGenerator[LeaderHint, None]:
        """Yield the leader, then each successor as it takes over. Does not end by itself."""
        async with (
            LeaderSearch(self._leader_cache.peers, pause=FOLLOW_PAUSE) as search,
            contextlib.aclosing(search.changes()) as changes,
        ):
            async for leader in changes:
                yield leader

    def follow_log(
        self,
        *,
        past: int = 0,
        lowest: str = "debug",
        channel: str = "",
        find_s: float | None = None,
    ) -> AsyncGenerator[LogLine | LinesDropped, None]:
        """Yield the last ``past`` lines of the cluster log, then each new line.

        After a failover it goes on with the successor's log; no line is yielded twice.

        Raises:
            UnreachableError: No manager answers; or none leads for ``find_s`` seconds after the
                beginning (None: no limit).

        """
        from mgr.client.streams import follow_log  # noqa: PLC0415 - as for maps

        return follow_log(
            self._leader_cache, past=past, lowest=lowest, channel=channel, find_s=find_s
        )

    async def _execute(
        self,
        attempts: Attempts,
        earlier: Mapping[str, str],
        *,
        timeout_s: float,
        changes: bool = True,
        lost: bool = False,
    ) -> Answer:
        call = LeaderCall(
            self._leader_cache,
            lambda peer, left_s: peer.commands.Execute(attempts.next(), timeout=left_s),
            timeout_s=timeout_s,
            changes=changes,
            earlier=earlier,
            lost=lost,
        )
        return answer_in(await call.run())

    async def _status_at(self, address: str, limit_s: float) -> Status | str:
        peer: Peer = self._leader_cache.peers.at(address)
        try:
            return status_in(await peer.manager.GetStatus(GetStatusRequest(), timeout=limit_s))
        except grpc.aio.AioRpcError as failed:
            return str(error_of(failed))


def _status_rank(status: Status) -> tuple[bool, int, float]:
    leads = status.active is not None and status.active.name == status.name
    term = status.active.term if status.active else 0
    age_s = float("inf") if status.view_age_s is None else status.view_age_s
    return leads, term, -age_s

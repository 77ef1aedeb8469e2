"""The Python client: finds the active, follows it through failovers, repeats what is safe."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from typing import Any, Final, Self

import grpc

from mgr.client.attempt import Attempts, refusal_after_attempt
from mgr.client.call import LeaderCall
from mgr.client.leader_cache import LeaderCache
from mgr.client.leader_search import LeaderHint, LeaderSearch
from mgr.client.maps import Maps
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
from mgr.client.session import CommandSession
from mgr.client.streams import follow_log
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

TIMEOUT_S: Final = 10.0
REACH_S: Final = 2.0


class AsyncClient:
    """Speaks to a cluster of managers; use it as ``async with AsyncClient(hosts) as client``.

    Safe for any number of concurrent calls of one event loop. Every method raises the classes
    of ``mgr.errors``: what the active refused a call with, or ``UnreachableError`` (nothing
    ran) and ``DeadlineExceededError`` (the outcome is unknown) when there was no answer.

    Attributes:
        maps: Documents that modules read, published and watched: see ``mgr.client.maps``.

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
        """Know some managers of the cluster: ``host:port``, at least one that lives.

        Args:
            hosts: One is enough to learn of all; several survive the loss of one.
            timeout_s: How long a call may take in all, failovers included.
            reach_s: A call fails after this if not a single manager answers.
            tls: Whom to trust and who we are; None speaks in plaintext.
            clock: For the deadlines.

        Raises:
            InvalidSettingError: One of the hosts is no address.

        """
        self._leader_cache = LeaderCache(Peers(addresses_in(hosts), tls), clock, reach_s=reach_s)
        self._timeout_s = timeout_s
        self.maps: Final = Maps(self._leader_cache, timeout_s=timeout_s)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections; calls under way fail."""
        await self._leader_cache.peers.close()

    async def execute(
        self,
        words: Sequence[str],
        arguments: dict[str, Any] | None = None,
        *,
        data: bytes = b"",
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> Answer:
        """Run one command on the active, whoever that is by then.

        However often it is repeated on the way, a mutating command is applied at most once:
        each carries a ``request_id``, a fresh one unless given. ``request_id=""`` renounces
        that, for a command known to be a read.

        Raises:
            MayHaveRunError: An earlier attempt ran, or may have run: its manager died of it or
                under it, or its result is not kept any more.
            OutcomeUnknownError: An earlier attempt may have run, and the last one was refused.
            MgrError: As the class says. A command that ran and said no raises nothing: its
                answer's ``retval`` is negative.

        """
        chosen_id = uuid.uuid4().hex if request_id is None else request_id
        attempts = Attempts(request_of(words, arguments, data, chosen_id), self._leader_cache.clock)
        return await self._execute(attempts, {}, timeout_s=timeout_s or self._timeout_s)

    async def execute_anywhere(
        self, words: Sequence[str], arguments: dict[str, Any] | None = None
    ) -> Answer:
        """Run a command that any manager may answer while nobody leads: ``mgr set down``.

        Somebody who leads is asked as by ``execute``. Raises as that does.
        """
        request = request_of(words, arguments, b"", uuid.uuid4().hex)
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

    def session(self) -> CommandSession:
        """Open a stream for many commands: ``async with client.session() as session``."""
        return CommandSession(self._leader_cache, timeout_s=self._timeout_s)

    async def describe(
        self, *, etag: str = "", timeout_s: float | None = None
    ) -> tuple[list[CommandInfo] | None, str]:
        """Ask which commands there are; None instead of the list while ``etag`` still holds."""
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
        """Make the active give up its office; what it says to that.

        Raises:
            OutcomeUnknownError: The connection broke. Not repeated, for a repetition could
                bring down the successor.

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
        """Ask each manager named so far what it is; for one that does not answer, why."""
        limit_s = timeout_s or min(self._timeout_s, self._leader_cache.reach_s)
        async with asyncio.TaskGroup() as tasks:
            asked = {
                address: tasks.create_task(self._status_at(address, limit_s))
                for address in self._leader_cache.peers.addresses
            }
        return {address: task.result() for address, task in asked.items()}

    async def status(self, *, timeout_s: float | None = None) -> Status:
        """Ask what the cluster looks like: the active's view, or the freshest other one.

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
        """Yield who leads, then each successor as it takes over. Never ends by itself."""
        async with (
            LeaderSearch(self._leader_cache.peers) as search,
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
        """Yield the last ``past`` lines of the cluster log, then each that comes.

        Goes on with the successor's log after a failover; no line is shown twice.

        Raises:
            UnreachableError: No manager answers; or nobody leads for ``find_s`` seconds from the
                beginning on (None: it waits).

        """
        return follow_log(
            self._leader_cache, past=past, lowest=lowest, channel=channel, find_s=find_s
        )

    async def _execute(
        self, attempts: Attempts, earlier: Mapping[str, str], *, timeout_s: float
    ) -> Answer:
        call = LeaderCall(
            self._leader_cache,
            lambda peer, left_s: peer.commands.Execute(attempts.next(), timeout=left_s),
            timeout_s=timeout_s,
            earlier=earlier,
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

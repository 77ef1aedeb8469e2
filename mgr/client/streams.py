"""The cluster log, followed through failovers."""

from __future__ import annotations

import contextlib
import math
from collections.abc import AsyncGenerator
from typing import Final

from mgr.client.leader_cache import LeaderCache
from mgr.client.leader_search import PAUSE_MAX_S, LeaderHint, LeaderSearch, wait_at_most
from mgr.client.messages import PRIORITIES, LinesDropped, LogLine, line_in
from mgr.client.reading import read
from mgr.errors import InvalidArgumentError, UnreachableError
from mgr.rpc.v1.manager_pb2 import FollowLogRequest, FollowLogResponse

ALL_LINES: Final = 1000
"""After a switch the successor's whole log is new; the manager keeps no more than this."""


async def follow_log(
    leader_cache: LeaderCache, *, past: int, lowest: str, channel: str, find_s: float | None = None
) -> AsyncGenerator[LogLine | LinesDropped, None]:
    """Yield the last ``past`` lines, then each that comes, from whoever is active.

    Raises:
        InvalidArgumentError: There is no priority ``lowest``.
        UnreachableError: No manager answers, or nobody leads for the first ``find_s`` seconds.

    """
    if lowest not in PRIORITIES:
        raise InvalidArgumentError(f"{lowest!r} is none of {', '.join(PRIORITIES)}")
    request = FollowLogRequest(past=past, channel=channel)
    request.priority = PRIORITIES.index(lowest) + 1  # type: ignore[assignment]  # an int on the wire
    seen = (0, 0)
    async with LeaderSearch(leader_cache.peers) as search:
        while True:
            active = await wait_active(leader_cache, search, find_s=None if seen[0] else find_s)
            stream = leader_cache.peers.at(active.address).manager.FollowLog(request)
            async with contextlib.aclosing(_lines(read(stream, search, active.term))) as lines:
                async for line in lines:
                    if isinstance(line, LogLine):
                        place = (line.term, line.sequence)
                        # Of a lower term than the last line: etcd was restored, all is new.
                        if place <= seen and active.term >= seen[0]:
                            continue
                        seen = place
                        request.past = ALL_LINES
                    yield line
            await wait_at_most(PAUSE_MAX_S, search, active.term)


async def wait_active(
    leader_cache: LeaderCache, search: LeaderSearch, *, find_s: float | None = None
) -> LeaderHint:
    """Wait until ``search`` has found who leads, for ``find_s`` at most; that manager.

    Raises:
        UnreachableError: No manager answers, or none leads.

    """
    begun_s = leader_cache.clock.now()
    until_s = begun_s + leader_cache.reach_s
    given_up_s = math.inf if find_s is None else begun_s + find_s
    while search.best is None:
        if not search.answered and leader_cache.clock.now() > until_s:
            raise UnreachableError("no manager answered", failures=search.unhelpful)
        if leader_cache.clock.now() > given_up_s:
            why = f"no active manager within {find_s:g} s"
            raise UnreachableError(why, failures=search.unhelpful)
        await wait_at_most(PAUSE_MAX_S, search, 0)
    return search.best


async def _lines(
    reading: AsyncGenerator[FollowLogResponse, None],
) -> AsyncGenerator[LogLine | LinesDropped, None]:
    async with contextlib.aclosing(reading) as messages:
        async for message in messages:
            if message.HasField("entry"):
                yield line_in(message.entry)
            elif message.HasField("dropped"):
                yield LinesDropped(message.dropped)

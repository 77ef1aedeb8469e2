"""The cluster log, followed through failovers."""

from __future__ import annotations

import contextlib
import math
from collections.abc import AsyncGenerator
from typing import Final

from mgr.client.leader_cache import Guide
from mgr.client.leader_search import PAUSE_MAX_S, Search, Sighting, wait_at_most
from mgr.client.messages import PRIORITIES, Line, Missing, line_in
from mgr.client.reading import read
from mgr.errors import InvalidArgumentError, UnreachableError
from mgr.rpc.v1.manager_pb2 import FollowLogRequest, FollowLogResponse

ALL_LINES: Final = 1000
"""After a switch the successor's whole log is new; the manager keeps no more than this."""


async def follow_log(
    guide: Guide, *, past: int, lowest: str, channel: str, find_s: float | None = None
) -> AsyncGenerator[Line | Missing, None]:
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
    async with Search(guide.peers) as search:
        while True:
            active = await found_active(guide, search, find_s=None if seen[0] else find_s)
            stream = guide.peers.at(active.address).manager.FollowLog(request)
            async with contextlib.aclosing(_lines(read(stream, search, active.term))) as lines:
                async for line in lines:
                    if isinstance(line, Line):
                        place = (line.term, line.sequence)
                        # Of a lower term than the last line: etcd was restored, all is new.
                        if place <= seen and active.term >= seen[0]:
                            continue
                        seen = place
                        request.past = ALL_LINES
                    yield line
            await wait_at_most(PAUSE_MAX_S, search, active.term)


async def found_active(guide: Guide, search: Search, *, find_s: float | None = None) -> Sighting:
    """Wait until ``search`` has found who leads, for ``find_s`` at most; that manager.

    Raises:
        UnreachableError: No manager answers, or none leads.

    """
    begun_s = guide.clock.now()
    until_s = begun_s + guide.reach_s
    given_up_s = math.inf if find_s is None else begun_s + find_s
    while search.best is None:
        if not search.answered and guide.clock.now() > until_s:
            raise UnreachableError("no manager answered", failures=search.silent)
        if guide.clock.now() > given_up_s:
            why = f"no active manager within {find_s:g} s"
            raise UnreachableError(why, failures=search.silent)
        await wait_at_most(PAUSE_MAX_S, search, 0)
    return search.best


async def _lines(
    reading: AsyncGenerator[FollowLogResponse, None],
) -> AsyncGenerator[Line | Missing, None]:
    async with contextlib.aclosing(reading) as messages:
        async for message in messages:
            if message.HasField("entry"):
                yield line_in(message.entry)
            elif message.HasField("dropped"):
                yield Missing(message.dropped)

"""The cluster service: daemons send their reports, clients read daemons and counters."""

# ruff: noqa: N802 - the methods are named by the proto

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Callable
from typing import Any, Final

import grpc

from mgr.cluster.daemon import Daemon
from mgr.cluster.fleet import Fleet
from mgr.errors import InvalidArgumentError, NotFoundError
from mgr.host.cluster_view import ClusterView, not_active_error
from mgr.host.role import Role
from mgr.rpc.authorization import Authorizer
from mgr.rpc.daemon_stream import DaemonStreamHandler, MakeCalls
from mgr.rpc.fleet_codec import daemon_of, series_of
from mgr.rpc.limits import JoinLimits
from mgr.rpc.maps import MapServicer
from mgr.rpc.streams import Streams
from mgr.rpc.v1 import cluster_pb2

AT_ONCE: Final = 100
"""Daemons or counters added to an answer before the event loop runs other tasks."""
PAGE_BYTES_MAX: Final = 3 << 20
"""Limit of one answer. By default a gRPC client accepts four MiB."""
FRAME_BYTES: Final = 5
"""Bytes that a message takes beyond its own size: its tag and its length."""
QUOTED_MAX: Final = 64

Context = grpc.aio.ServicerContext[Any, Any]


class ClusterServicer(MapServicer):
    """See ``proto/mgr/rpc/v1/cluster.proto``."""

    def __init__(  # noqa: PLR0913 - each by name
        self,
        name: str,
        *,
        role_of: Callable[[], Role],
        view: ClusterView,
        streams: Streams,
        authorizer: Authorizer,
        calls: MakeCalls,
        joins: JoinLimits,
    ) -> None:
        """Answer as manager ``name``; ``calls`` makes the handler of a daemon's commands.

        ``joins`` limits how fast new daemons become known.
        """
        super().__init__(name, role_of=role_of, view=view, streams=streams, authorizer=authorizer)
        self._calls = calls
        self._joins = joins

    # Streams are served with context.read and write; the type stubs allow generators only.
    async def Report(self, _: object, context: Context) -> None:  # type: ignore[override]
        """Serve the report stream of a daemon until it ends."""
        await DaemonStreamHandler(
            self._fleet(),
            context,
            streams=self._streams,
            authorizer=self._authorizer,
            calls=self._calls,
            joins=self._joins,
        ).run()

    async def ListDaemons(
        self, request: cluster_pb2.ListDaemonsRequest, _context: Context
    ) -> cluster_pb2.ListDaemonsResponse:
        """List the daemons, a page at a time."""
        fleet = self._fleet()
        answer = cluster_pb2.ListDaemonsResponse(filling=fleet.filling)
        page = ResultPage(request.page_size)
        seen = request.page_token
        for number, name in enumerate(_names(fleet, after=seen)):
            daemon = fleet.daemons.get(name)  # it may be removed while other tasks run
            if daemon and request.type in {"", daemon.kind} and _is_on(daemon, request.host):
                message = daemon_of(daemon)
                if not page.fits(message.ByteSize()):
                    answer.next_page_token = seen
                    break
                answer.daemons.append(message)
            seen = name
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)
        return answer

    async def GetCounters(
        self, request: cluster_pb2.GetCountersRequest, _context: Context
    ) -> cluster_pb2.GetCountersResponse:
        """Return the last points of counters, a page at a time."""
        if not request.type:
            raise InvalidArgumentError(
                "the type of daemon is missing: name one of `mgrctl daemon ls`"
            )
        answer = cluster_pb2.GetCountersResponse()
        page = ResultPage(request.page_size)
        async for place, series in self._series(request):
            if not page.fits(series.ByteSize()):
                answer.next_page_token = place
                break
            answer.series.append(series)
        return answer

    async def _series(
        self, request: cluster_pb2.GetCountersRequest
    ) -> AsyncGenerator[tuple[str, cluster_pb2.CounterSeries], None]:
        """Yield each requested series, with the token of the page that would begin with it."""
        begin, first = _place(request.page_token)
        for name in self._daemon_names(request, begin):
            daemon = self._fleet().daemons.get(name)
            if daemon is None:
                continue  # it was removed while other tasks ran
            ring, skipped = daemon.ring, first if name == begin else 0
            for number, slot in enumerate(ring.schema.slots[skipped:], skipped):
                if request.path in {"", slot.counter.path}:
                    series = series_of(daemon, ring, slot, latest=request.latest)
                    if series is not None:
                        yield f"{number} {name}", series
                if number % AT_ONCE == 0:
                    await asyncio.sleep(0)

    def _daemon_names(self, request: cluster_pb2.GetCountersRequest, begin: str) -> list[str]:
        fleet = self._fleet()
        if not request.id:
            of_type = (name for name in fleet.daemons if name.startswith(f"{request.type}."))
            return sorted(name for name in of_type if name >= begin)
        name = f"{request.type}.{request.id}"
        if name not in fleet.daemons:
            raise NotFoundError(f"there is no daemon {name}: see `mgrctl daemon ls`")
        return [name]

    def _fleet(self) -> Fleet:
        fleet = self._role_of().fleet
        if fleet is None:
            raise not_active_error(self._view.leader(), self._name)
        return fleet


class ResultPage:
    """Size limit of one answer: the requested page size, and what a default client accepts."""

    def __init__(self, size: int) -> None:
        """Allow ``size`` messages; 0: as many as ``PAGE_BYTES_MAX`` allows."""
        if size < 0:
            raise InvalidArgumentError(f"page_size {size}: use 0 or more")
        self._messages_left = size or math.inf
        self._room = PAGE_BYTES_MAX

    def fits(self, size: int) -> bool:
        """Add a message of ``size`` bytes if it fits, and return whether it does.

        The first one always fits.
        """
        if self._messages_left <= 0 or (size > self._room and self._room < PAGE_BYTES_MAX):
            return False
        self._messages_left -= 1
        self._room -= size + FRAME_BYTES
        return True


def _names(fleet: Fleet, *, after: str) -> list[str]:
    return sorted(name for name in fleet.daemons if name > after)


def _is_on(daemon: Daemon, host: str) -> bool:
    return host in {"", daemon.record.host}


def _place(token: str) -> tuple[str, int]:
    """Return the daemon and the number of its counter at which a page begins."""
    number, _, name = token.partition(" ")
    if not token:
        return "", 0
    if not number.isdecimal() or not name:
        raise InvalidArgumentError(
            f"page_token {token[:QUOTED_MAX]!r} is invalid: use next_page_token of an answer"
        )
    return name, int(number)

"""The cluster service: daemons report here, and what they reported is read here."""

# ruff: noqa: N802 - the methods are named by the proto

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import grpc

from mgr.cluster.daemon import Daemon
from mgr.cluster.fleet import Fleet
from mgr.errors import InvalidArgumentError, NotFoundError, TooLargeError
from mgr.host.role import Role
from mgr.host.view import ClusterView, refusal
from mgr.rpc.callers import Door
from mgr.rpc.fleet_wire import daemon_of, series_of
from mgr.rpc.maps import MapServicer
from mgr.rpc.report import MakeCalls, Membership
from mgr.rpc.streams import Streams
from mgr.rpc.v1 import cluster_pb2

AT_ONCE: Final = 100
"""Daemons put into an answer before the loop may do something else."""
POINTS_MAX: Final = 200_000
"""Of one answer; above that the question must say more."""

Context = grpc.aio.ServicerContext[Any, Any]


class ClusterServicer(MapServicer):
    """See ``proto/mgr/rpc/v1/cluster.proto``."""

    def __init__(
        self,
        name: str,
        *,
        role_of: Callable[[], Role],
        view: ClusterView,
        streams: Streams,
        door: Door,
        calls: MakeCalls,
    ) -> None:
        """Answer as manager ``name``; what daemons ask is taken by what ``calls`` makes."""
        super().__init__(name, role_of=role_of, view=view, streams=streams)
        self._door = door
        self._calls = calls

    # The writer's way of serving a stream, as everywhere here: the stubs know generators only.
    async def Report(self, _: object, context: Context) -> None:  # type: ignore[override]
        """Let a daemon report for as long as it likes."""
        await Membership(
            self._fleet(),
            context,
            streams=self._streams,
            door=self._door,
            calls=self._calls,
        ).run()

    async def ListDaemons(
        self, request: cluster_pb2.ListDaemonsRequest, _context: Context
    ) -> cluster_pb2.ListDaemonsResponse:
        """Say which daemons there are."""
        fleet = self._fleet()
        answer = cluster_pb2.ListDaemonsResponse(filling=fleet.filling)
        for number, daemon in enumerate(_sorted(fleet)):
            if request.type in {"", daemon.kind} and request.host in {"", daemon.member.host}:
                answer.daemons.append(daemon_of(daemon))
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)
        return answer

    async def GetCounters(
        self, request: cluster_pb2.GetCountersRequest, _context: Context
    ) -> cluster_pb2.GetCountersResponse:
        """Give the last points of counters."""
        if not request.type:
            raise InvalidArgumentError("name a type of daemon")
        answer = cluster_pb2.GetCountersResponse()
        points = 0
        for daemon in self._meant(request):
            ring = daemon.ring
            slots = [s for s in ring.schema.slots if request.path in {"", s.counter.path}]
            found = series_of(daemon, ring, slots, latest=request.latest)
            points += sum(len(series.points) for series in found)
            if points > POINTS_MAX:
                raise TooLargeError(
                    f"more than {POINTS_MAX} points: name an id or a path, or ask for the latest"
                )
            answer.series.extend(found)
            await asyncio.sleep(0)
        return answer

    def _meant(self, request: cluster_pb2.GetCountersRequest) -> list[Daemon]:
        fleet = self._fleet()
        if not request.id:
            return [daemon for daemon in _sorted(fleet) if daemon.kind == request.type]
        name = f"{request.type}.{request.id}"
        if (daemon := fleet.daemons.get(name)) is None:
            raise NotFoundError(f"there is no daemon {name}")
        return [daemon]

    def _fleet(self) -> Fleet:
        fleet = self._role_of().fleet
        if fleet is None:
            raise refusal(self._view.leader(), self._name)
        return fleet


def _sorted(fleet: Fleet) -> list[Daemon]:
    return [fleet.daemons[name] for name in sorted(fleet.daemons)]

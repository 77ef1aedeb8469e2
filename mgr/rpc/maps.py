"""The map calls of the cluster service: they translate between gRPC and ``mgr.cluster.maps``."""

# ruff: noqa: N802 - the methods are named by the proto

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import grpc

from mgr.cluster.maps import Map, MapRemoved, Maps
from mgr.errors import InvalidArgumentError
from mgr.host.bridge import run_in_thread
from mgr.host.cluster_view import ClusterView, not_active_error
from mgr.host.role import Role
from mgr.rpc.audited import AuditedChange
from mgr.rpc.authorization import Authorizer
from mgr.rpc.streams import HEARTBEAT_S, Streams
from mgr.rpc.v1 import cluster_pb2, cluster_pb2_grpc, manager_pb2

Context = grpc.aio.ServicerContext[Any, Any]


class MapServicer(cluster_pb2_grpc.ClusterServiceServicer):
    """See ``proto/mgr/rpc/v1/cluster.proto``."""

    def __init__(
        self,
        name: str,
        *,
        role_of: Callable[[], Role],
        view: ClusterView,
        streams: Streams,
        authorizer: Authorizer,
    ) -> None:
        """Answer as manager ``name``; take the role from ``role_of`` at each call."""
        self._authorizer = authorizer
        self._name = name
        self._role_of = role_of
        self._view = view
        self._streams = streams

    async def GetMap(
        self, request: cluster_pb2.GetMapRequest, _context: Context
    ) -> cluster_pb2.GetMapResponse:
        """Return one map."""
        maps = self._maps()
        found = maps.find(request.name)
        if found is None:
            # A document of the manager itself: with ten thousand daemons encoding it takes long.
            found = await run_in_thread("get-map", partial(maps.get, request.name))
        return cluster_pb2.GetMapResponse(map=_message(found))

    async def ListMaps(
        self, _request: cluster_pb2.ListMapsRequest, _context: Context
    ) -> cluster_pb2.ListMapsResponse:
        """List published maps, without their documents."""
        listed = [cluster_pb2.Map(name=m.name, version=m.version) for m in self._maps().all()]
        return cluster_pb2.ListMapsResponse(maps=listed)

    async def SetMap(
        self, request: cluster_pb2.SetMapRequest, context: Context
    ) -> cluster_pb2.SetMapResponse:
        """Publish a map."""
        try:
            text = request.document.decode()
        except UnicodeDecodeError as error:
            where = f"byte {error.start}"
            raise InvalidArgumentError(f"map '{request.name}' is not UTF-8: {where}") from None
        arguments = {"name": request.name, "bytes": len(request.document)}
        with_record = self._audited(context, "map set", arguments)
        version = await with_record(
            partial(self._maps().set, request.name, text, _expected(request))
        )
        return cluster_pb2.SetMapResponse(version=version)

    async def RemoveMap(
        self, request: cluster_pb2.RemoveMapRequest, context: Context
    ) -> cluster_pb2.RemoveMapResponse:
        """Remove a map."""
        with_record = self._audited(context, "map rm", {"name": request.name})
        await with_record(partial(self._maps().remove, request.name, _expected(request)))
        return cluster_pb2.RemoveMapResponse()

    # Served with context.write, as in ``mgr.rpc.manager``.
    async def WatchMaps(  # type: ignore[override]
        self, request: cluster_pb2.WatchMapsRequest, context: Context
    ) -> None:
        """Send each map, the marker, then each change."""
        with self._streams.endable(), self._maps().watch(request.prefix) as watch:
            for each in watch.first():
                await context.write(cluster_pb2.WatchMapsResponse(map=_message(each)))
            await context.write(cluster_pb2.WatchMapsResponse(caught_up=manager_pb2.Caught()))
            while True:
                message = cluster_pb2.WatchMapsResponse()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(HEARTBEAT_S):
                        message = _change_message(await watch.next())
                await context.write(message)

    def _audited(
        self, context: Context, command: str, arguments: Mapping[str, Any]
    ) -> AuditedChange:
        """Return what makes a change together with its audit record."""
        caller = self._authorizer.caller_of(context)
        return AuditedChange(self._role_of().audit, caller, command, arguments)

    def _maps(self) -> Maps:
        maps = self._role_of().maps
        if maps is None:
            raise not_active_error(self._view.leader(), self._name)
        return maps


def _expected(request: cluster_pb2.SetMapRequest | cluster_pb2.RemoveMapRequest) -> int | None:
    return request.expected_version if request.HasField("expected_version") else None


def _message(found: Map) -> cluster_pb2.Map:
    return cluster_pb2.Map(
        name=found.name, version=found.version, document=found.text.encode(errors="replace")
    )


def _change_message(change: Map | MapRemoved) -> cluster_pb2.WatchMapsResponse:
    if isinstance(change, MapRemoved):
        return cluster_pb2.WatchMapsResponse(removed=change.name)
    return cluster_pb2.WatchMapsResponse(map=_message(change))

"""The manager service: the state of this manager, the active, hand-over, and the cluster log."""

# ruff: noqa: N802 - the methods are named by the proto

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from mgr.access.table import Caller
from mgr.clock import CLOCK, utc_now
from mgr.cluster.log import CAPACITY, Entry, Filter, LinesDropped, Priority
from mgr.errors import InvalidArgumentError
from mgr.host.cluster_view import ClusterView, LeaderView, not_active_error
from mgr.host.role import Role
from mgr.rpc.codec import span
from mgr.rpc.streams import HEARTBEAT_S, Streams
from mgr.rpc.v1 import manager_pb2, manager_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True)
class ServerIdentity:
    """Identity of the manager that answers."""

    name: str
    cluster: str
    version: str
    incarnation: str


class ManagerServicer(manager_pb2_grpc.ManagerServiceServicer):
    """See ``proto/mgr/rpc/v1/manager.proto``."""

    def __init__(  # noqa: PLR0913 - what it answers from, each by name
        self,
        identity: ServerIdentity,
        *,
        role_of: Callable[[], Role],
        view: ClusterView,
        streams: Streams,
        note_of: Callable[[], str],
        term_of: Callable[[], int],
        caller_of: Callable[[Context], Caller],
    ) -> None:
        """Answer as ``identity``.

        ``note_of`` returns the reason for the manager's state, ``term_of`` the term in which it
        leads, if it does, ``caller_of`` the client that makes a call.
        """
        self._caller_of = caller_of
        self._identity = identity
        self._role_of = role_of
        self._view = view
        self._streams = streams
        self._note_of = note_of
        self._term_of = term_of

    async def GetStatus(
        self, _request: manager_pb2.GetStatusRequest, _context: Context
    ) -> manager_pb2.GetStatusResponse:
        """Return the state of this manager and its view of the cluster."""
        leader = self._view.leader()
        return manager_pb2.GetStatusResponse(
            name=self._identity.name,
            cluster=self._identity.cluster,
            version=self._identity.version,
            incarnation=self._identity.incarnation,
            phase=self._role_of().state,
            note=self._note_of(),
            active=_active(leader),
            standbys=self._standbys(leader),
            view_age=_duration(self._view.age_s()),
            clock=span(CLOCK.now()),
            at=_timestamp(utc_now()),
        )

    # Streams are served with context.write, not with a generator: a cancellation then reaches the
    # handler wherever it waits. The type stubs allow generators only.
    async def WatchActive(  # type: ignore[override]
        self, _request: manager_pb2.WatchActiveRequest, context: Context
    ) -> None:
        """Send the active manager, at once and then at every change."""
        with self._streams.endable():
            async with contextlib.aclosing(self._view.changes()) as changes:
                async for leader in changes:
                    await context.write(
                        manager_pb2.WatchActiveResponse(
                            active=_active(leader),
                            view_age=_duration(self._view.age_s()),
                            name=self._identity.name,
                            standbys=self._standbys(leader),
                        )
                    )

    async def Fail(
        self, request: manager_pb2.FailRequest, context: Context
    ) -> manager_pb2.FailResponse:
        """Give up leadership."""
        caller = self._caller_of(context)
        message = await self._role_of().fail(request.name, request.successor, caller)
        return manager_pb2.FailResponse(message=message)

    async def FollowLog(  # type: ignore[override]
        self, request: manager_pb2.FollowLogRequest, context: Context
    ) -> None:
        """Send the last lines, the marker, then each new line."""
        log = self._role_of().log
        if log is None:
            raise not_active_error(self._view.leader(), self._identity.name)
        # Not the term of the view, which may already show the next active.
        term = self._term_of()
        with (
            self._streams.endable(),
            log.subscribe(_filter(request), past=min(request.past, CAPACITY)) as reader,
        ):
            for entry in reader.past:
                await context.write(_line(entry, term))
            await context.write(manager_pb2.FollowLogResponse(caught_up=manager_pb2.Caught()))
            while True:
                message = manager_pb2.FollowLogResponse()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(HEARTBEAT_S):
                        message = _event_message(await reader.next(), term)
                await context.write(message)

    def _standbys(self, leader: LeaderView | None) -> list[manager_pb2.Standby]:
        return [
            manager_pb2.Standby(
                name=presence.name,
                grpc_address=presence.grpc_address,
                http_address=presence.http_address,
                version=presence.version,
                warm=presence.warm,
            )
            for presence in self._view.presences()
            if leader is None or presence.name != leader.name
        ]


def _active(leader: LeaderView | None) -> manager_pb2.Active | None:
    if leader is None:
        return None
    return manager_pb2.Active(
        name=leader.name,
        term=leader.term,
        grpc_address=leader.grpc_address,
        http_address=leader.http_address,
        since=_timestamp(datetime.fromisoformat(leader.since)) if leader.since else None,
    )


def _filter(request: manager_pb2.FollowLogRequest) -> Filter:
    # 0 means "unspecified" in the protocol, so its numbers are those of Priority plus one.
    try:
        lowest = Priority(max(request.priority - 1, 0))
    except ValueError:
        raise InvalidArgumentError(f"there is no priority {request.priority}") from None
    return Filter(lowest=lowest, channel=request.channel)


def _event_message(event: Entry | LinesDropped, term: int) -> manager_pb2.FollowLogResponse:
    if isinstance(event, LinesDropped):
        return manager_pb2.FollowLogResponse(dropped=event.count)
    return _line(event, term)


def _line(entry: Entry, term: int) -> manager_pb2.FollowLogResponse:
    return manager_pb2.FollowLogResponse(
        entry=manager_pb2.LogEntry(
            sequence=entry.sequence,
            at=_timestamp(entry.at),
            name=entry.name,
            channel=entry.channel,
            priority=entry.priority + 1,  # type: ignore[arg-type]  # the enum is an int on the wire
            message=entry.message,
            term=entry.term or term,
        )
    )


def _timestamp(at: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return stamp


def _duration(seconds: float) -> Duration | None:
    # A mirror that was never current is infinitely old; the field is then left unset.
    if not math.isfinite(seconds):
        return None
    return span(seconds)

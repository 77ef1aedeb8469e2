"""Reads, publishes and follows maps, through failovers."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from mgr.client.call import LeaderCall
from mgr.client.leader_cache import LeaderCache
from mgr.client.leader_search import FOLLOW_PAUSE, PAUSE_MAX_S, LeaderSearch, wait_at_most
from mgr.client.streams import pause_after, read, wait_active
from mgr.errors import NotFoundError
from mgr.rpc.v1 import cluster_pb2


@dataclass(frozen=True, slots=True)
class Map:
    """A map as it was read. Version 0 is a document of the manager itself."""

    name: str
    version: int
    document: Any


@dataclass(frozen=True, slots=True)
class MapRemoved:
    """A map that was seen before has been removed."""

    name: str


class _SeenVersion(NamedTuple):
    """The last yielded state of a map.

    The version is not enough: after a restore of etcd it may be given to two documents.
    """

    version: int
    document: int


class Maps:
    """The calls for maps, as ``AsyncClient.maps``. Errors are those of the client's calls."""

    def __init__(self, leader_cache: LeaderCache, *, timeout_s: float) -> None:
        """Find the active with ``leader_cache``; limit each call to ``timeout_s``."""
        self._leader_cache = leader_cache
        self._timeout_s = timeout_s

    async def get(self, name: str) -> Map | None:
        """Return a published map or a document of the manager; None if there is none."""
        request = cluster_pb2.GetMapRequest(name=name)
        call = self._call(
            lambda peer, left_s: peer.cluster.GetMap(request, timeout=left_s), changes=False
        )
        try:
            return _map_in((await call.run()).map)
        except NotFoundError:
            return None

    async def versions(self) -> dict[str, int]:
        """Return the version of every published map, by name."""
        request = cluster_pb2.ListMapsRequest()
        call = self._call(
            lambda peer, left_s: peer.cluster.ListMaps(request, timeout=left_s), changes=False
        )
        return {each.name: each.version for each in (await call.run()).maps}

    async def set(
        self, name: str, document: Mapping[str, Any], *, expected_version: int | None = None
    ) -> int:
        """Publish ``document`` and return its new version.

        The call is repeated through failovers. With ``expected_version``, the version that must
        be there now (0: none), it is not repeated: a repetition could not distinguish its own
        first attempt from another publisher's.

        Raises:
            ConflictError: Another version is there.
            InvalidArgumentError: The name is invalid, or the document may not be published.
            OutcomeUnknownError: The connection broke with ``expected_version`` set: read the map,
                then decide.

        """
        text = json.dumps(dict(document), allow_nan=False, ensure_ascii=False)
        request = cluster_pb2.SetMapRequest(
            name=name, document=text.encode(), expected_version=expected_version
        )
        call = self._call(
            lambda peer, left_s: peer.cluster.SetMap(request, timeout=left_s),
            repeatable=expected_version is None,
        )
        return int((await call.run()).version)

    async def remove(self, name: str, *, expected_version: int | None = None) -> None:
        """Remove a map; no error if there is none. ``expected_version`` is as for ``set``."""
        request = cluster_pb2.RemoveMapRequest(name=name, expected_version=expected_version)
        call = self._call(
            lambda peer, left_s: peer.cluster.RemoveMap(request, timeout=left_s),
            repeatable=expected_version is None,
        )
        await call.run()

    async def watch(self, prefix: str = "") -> AsyncGenerator[Map | MapRemoved, None]:
        """Yield each map whose name begins with ``prefix``, then every change.

        A slow reader misses versions in between, but never the last one. After a failover all
        maps are compared with those yielded before: nothing is yielded twice, and changes during
        the failover are yielded then. After a restore of etcd a version may be lower than the one
        before it. The generator does not end by itself.

        Raises:
            UnreachableError: No manager answers.

        """
        request = cluster_pb2.WatchMapsRequest(prefix=prefix)
        seen: dict[str, _SeenVersion] = {}
        clock, pause_s = self._leader_cache.clock, PAUSE_MAX_S
        async with LeaderSearch(self._leader_cache.peers, pause=FOLLOW_PAUSE) as search:
            while True:
                active = await wait_active(self._leader_cache, search)
                begun_s = clock.now()
                stream = self._leader_cache.peers.at(active.address).cluster.WatchMaps(request)
                messages = read(stream, search, active.term)
                async with contextlib.aclosing(_changes(messages, seen)) as changes:
                    async for each in changes:
                        yield each
                pause_s = pause_after(pause_s, lived_s=clock.now() - begun_s)
                await wait_at_most(pause_s, search, active.term)

    def _call(self, send: Any, *, repeatable: bool = True, changes: bool = True) -> LeaderCall[Any]:
        return LeaderCall(
            self._leader_cache,
            send,
            timeout_s=self._timeout_s,
            repeatable=repeatable,
            changes=changes,
        )


async def _changes(
    messages: AsyncGenerator[cluster_pb2.WatchMapsResponse, None], seen: dict[str, _SeenVersion]
) -> AsyncGenerator[Map | MapRemoved, None]:
    """Yield each change of one manager's maps against ``seen``, and update ``seen``."""
    listed: set[str] = set()
    async with contextlib.aclosing(messages) as open_messages:
        async for message in open_messages:
            if message.HasField("map"):
                listed.add(message.map.name)
                now = _SeenVersion(message.map.version, hash(message.map.document))
                if now != seen.get(message.map.name):
                    seen[message.map.name] = now
                    yield _map_in(message.map)
            elif message.HasField("caught_up"):
                for name in sorted(seen.keys() - listed):
                    del seen[name]
                    yield MapRemoved(name)
            elif message.HasField("removed") and message.removed in seen:
                del seen[message.removed]
                yield MapRemoved(message.removed)


def _map_in(message: cluster_pb2.Map) -> Map:
    return Map(message.name, message.version, json.loads(message.document))

"""Maps, read, published and followed through failovers."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from mgr.client.call import LeaderCall
from mgr.client.leader_cache import LeaderCache
from mgr.client.leader_search import PAUSE_MAX_S, LeaderSearch, wait_at_most
from mgr.client.reading import read
from mgr.client.streams import wait_active
from mgr.errors import NotFoundError
from mgr.rpc.v1 import cluster_pb2


@dataclass(frozen=True, slots=True)
class Map:
    """A map as it was read. ``version`` 0: a document of the manager itself."""

    name: str
    version: int
    document: Any


@dataclass(frozen=True, slots=True)
class MapRemoved:
    """A map that was seen before is not there any more."""

    name: str


class _SeenVersion(NamedTuple):
    """What was yielded of a map. In a restored etcd one version may be given twice."""

    version: int
    document: int


class Maps:
    """What ``AsyncClient.maps`` is. Each call raises as the client's calls do."""

    def __init__(self, leader_cache: LeaderCache, *, timeout_s: float) -> None:
        """Find the active with ``leader_cache``; a call may take ``timeout_s``."""
        self._leader_cache = leader_cache
        self._timeout_s = timeout_s

    async def get(self, name: str) -> Map | None:
        """A published map or a document of the manager; None where there is none."""
        request = cluster_pb2.GetMapRequest(name=name)
        call = self._call(
            lambda peer, left_s: peer.cluster.GetMap(request, timeout=left_s), changes=False
        )
        try:
            return _map_in((await call.run()).map)
        except NotFoundError:
            return None

    async def versions(self) -> dict[str, int]:
        """The version of every published map, by name."""
        request = cluster_pb2.ListMapsRequest()
        call = self._call(
            lambda peer, left_s: peer.cluster.ListMaps(request, timeout=left_s), changes=False
        )
        return {each.name: each.version for each in (await call.run()).maps}

    async def set(
        self, name: str, document: Mapping[str, Any], *, expected_version: int | None = None
    ) -> int:
        """Publish ``document``; the version that it has then.

        Repeated through failovers as often as it takes. Not so with ``expected_version``, which
        is to be there (0: none): a repetition could not tell its own first attempt from another
        publisher's.

        Raises:
            ConflictError: Another version is there.
            InvalidArgumentError: It is no name, or no document that may be published.
            OutcomeUnknownError: The connection broke under a conditional one: read, then decide.

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
        """Withdraw a map; no error where there is none. ``expected_version`` as for ``set``."""
        request = cluster_pb2.RemoveMapRequest(name=name, expected_version=expected_version)
        call = self._call(
            lambda peer, left_s: peer.cluster.RemoveMap(request, timeout=left_s),
            repeatable=expected_version is None,
        )
        await call.run()

    async def watch(self, prefix: str = "") -> AsyncGenerator[Map | MapRemoved, None]:
        """Yield each map whose name begins so, then every change, from whoever is active.

        Who takes them slowly misses versions in between, never the last one. After a failover
        all are compared with what was yielded: nothing comes twice, and what happened meanwhile
        is made up for. After a restore of etcd a version may be lower than the one before it.
        Never ends by itself.

        Raises:
            UnreachableError: No manager answers.

        """
        request = cluster_pb2.WatchMapsRequest(prefix=prefix)
        seen: dict[str, _SeenVersion] = {}
        async with LeaderSearch(self._leader_cache.peers) as search:
            while True:
                active = await wait_active(self._leader_cache, search)
                stream = self._leader_cache.peers.at(active.address).cluster.WatchMaps(request)
                reading = read(stream, search, active.term)
                async with contextlib.aclosing(_changes(reading, seen)) as changes:
                    async for each in changes:
                        yield each
                await wait_at_most(PAUSE_MAX_S, search, active.term)

    def _call(self, send: Any, *, repeatable: bool = True, changes: bool = True) -> LeaderCall[Any]:
        return LeaderCall(
            self._leader_cache,
            send,
            timeout_s=self._timeout_s,
            repeatable=repeatable,
            changes=changes,
        )


async def _changes(
    reading: AsyncGenerator[cluster_pb2.WatchMapsResponse, None], seen: dict[str, _SeenVersion]
) -> AsyncGenerator[Map | MapRemoved, None]:
    """Yield what one manager says that is not in ``seen``, which is kept up to date."""
    listed: set[str] = set()
    async with contextlib.aclosing(reading) as messages:
        async for message in messages:
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

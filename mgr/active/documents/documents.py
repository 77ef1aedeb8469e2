"""Caches the documents that modules read with ``get()``: made on the loop, read by any thread.

A document is made again when its data has changed, once for all changes in one turn of the loop,
and then replaced as a whole. Reading one costs two dictionary lookups and a copy of its top level.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from mgr.active.documents.empty import EMPTY_CEPH_DOCUMENTS, EMPTY_CEPH_TEXTS, empty_documents
from mgr.active.documents.fleet_documents import DEVICE, DEVICES, FLEET_DOCUMENTS, METADATA
from mgr.cluster.frozen import freeze
from mgr.cluster.owned import owned
from mgr.election.records import Presence
from mgr.host.cluster_view import LeaderView
from mgr.link import ModuleReport
from mgr.module_api.notify import STORE, NotifyType

EMPTY_DICT_PREFIXES: Final = ("osd_map", "config", "device ")
"""For unknown names with these prefixes Ceph returns an empty dictionary; for others None."""
CEPH_AND_FLEET: Final = frozenset({"mon_metadata", "osd_metadata", "mds_metadata", DEVICES})
"""Documents about the fleet that a real Ceph cluster has, too, and then they are that cluster's."""
RESERVED_PREFIXES: Final = ("mgr_", "pg_")
"""Prefixes kept for documents of later versions."""
STANDBYS_CACHED: Final = 64
NOTIFICATION_KINDS: Final = frozenset({STORE, *(kind.value for kind in NotifyType)})
"""The kinds of notifications. A map of such a name would cause the same notification."""


class Documents:
    """The published documents. ``get`` may be called from any thread."""

    def __init__(
        self,
        makers: Mapping[str, Callable[[], Any]],
        of_fleet: Callable[[str], Any],
        *,
        fsid: str = "",
    ) -> None:
        """Publish what each of ``makers`` returns, under its name.

        Ceph's empty documents name the cluster ``fsid``.
        ``of_fleet`` returns the documents about daemons, which are made when they are read.
        """
        self._makers = makers
        self._of_fleet = of_fleet
        self._loop = asyncio.get_running_loop()
        self._stale: set[str] = set()
        self._listeners: list[Callable[[Sequence[str]], None]] = []
        self._empty = empty_documents(fsid)
        self._published: dict[str, Any] = dict(self._empty)
        self._of_ceph: frozenset[str] = frozenset()
        for name in makers:
            self._make(name)

    def get(self, name: str) -> Any:
        """Return a document, which the caller may change at every level."""
        document = self._published.get(name)
        if document is None:
            document = self._of_fleet(name)
        return default_document(name) if document is None else owned(document)

    def reserved(self, name: str) -> bool:
        """Return whether ``name`` is forbidden as the name of a published map."""
        known = (
            name in self._published
            or name in EMPTY_CEPH_TEXTS
            or name in NOTIFICATION_KINDS
            or name in FLEET_DOCUMENTS
        )
        begins = name.startswith((*EMPTY_DICT_PREFIXES, *RESERVED_PREFIXES))
        return known or begins or name.endswith(METADATA)

    def current(self, name: str) -> Any:
        """Return the document as of now, made again if it is stale. On the loop only."""
        if name in self._stale:
            self._make(name)
        return self._published[name]

    def version(self, name: str) -> tuple[Any, bool] | None:
        """Return the document as of now, read only; None if there is none. On the loop only.

        The second value is whether it holds until ``on_changed`` names it.
        """
        if name in self._published:
            return self.current(name), True
        document = self._of_fleet(name)
        if document is None:
            document = default_document(name)
        return None if document is None else (document, False)

    def on_changed(self, listener: Callable[[Sequence[str]], None]) -> Callable[[], None]:
        """Call ``listener`` on the loop as soon as documents are out of date, with their names.

        Returns a function that ends this.
        """
        self._listeners.append(listener)

        def end() -> None:
            with contextlib.suppress(ValueError):
                self._listeners.remove(listener)

        return end

    def mark_changed(self, *names: str) -> None:
        """Have the named documents made again before the loop's next turn."""
        if not self._stale:
            self._loop.call_soon(self._remake)
        self._stale.update(names)
        self._announce(names)

    def put_ceph(self, documents: Mapping[str, Any]) -> None:
        """Publish frozen documents of a real Ceph cluster in place of the empty ones. On the loop.

        The names have passed ``is_of_ceph``.
        """
        self._published.update(documents)
        self._of_ceph |= documents.keys()
        self._announce(tuple(documents))

    @property
    def has_ceph(self) -> bool:
        """Whether there are documents of a real Ceph cluster."""
        return bool(self._of_ceph)

    def of_ceph(self, name: str) -> Mapping[str, Any]:
        """Return a document of a real Ceph cluster, read only; empty if there is none."""
        found: Mapping[str, Any] | None = self._published.get(name)
        return found if found is not None and name in self._of_ceph else {}

    def drop_ceph(self) -> None:
        """Publish the empty documents again in place of those of ``put_ceph``. On the loop."""
        names, self._of_ceph = self._of_ceph, frozenset()
        for name in names:
            if name in self._empty:
                self._published[name] = self._empty[name]
            else:
                del self._published[name]
        self._announce(tuple(names))

    def _announce(self, names: Sequence[str]) -> None:
        for listener in tuple(self._listeners):
            listener(names)

    def _remake(self) -> None:
        for name in tuple(self._stale):
            self._make(name)

    def _make(self, name: str) -> None:
        self._stale.discard(name)
        self._published[name] = freeze(self._makers[name]())


def is_of_ceph(name: str) -> bool:
    """Return whether ``name`` is a document that a Ceph cluster has and this manager has not."""
    known = name in EMPTY_CEPH_DOCUMENTS or name in EMPTY_CEPH_TEXTS or name in CEPH_AND_FLEET
    return known or name.startswith(DEVICE)


def default_document(name: str) -> Any:
    """Return what ``get`` answers for an unknown document: depends on its name, often None."""
    if name in EMPTY_CEPH_TEXTS:
        return EMPTY_CEPH_TEXTS[name]
    return {} if name.startswith(EMPTY_DICT_PREFIXES) else None


def mgr_map(  # noqa: PLR0913 - one parameter for each thing it shows
    *,
    epoch: int,
    available: bool,
    leader: LeaderView,
    presences: Sequence[Presence],
    enabled: Sequence[str],
    forced_off: Sequence[str],
    available_modules: Any,
    services: Mapping[str, str],
    always_on: Mapping[str, Sequence[str]],
    incarnation: int = 0,
) -> dict[str, Any]:
    """Return the map of managers, in Ceph's shape."""
    kind, _, _ = leader.grpc_address.rpartition(":")
    address = {"type": "v2", "addr": leader.grpc_address, "nonce": 0} if kind else None
    return {
        "epoch": epoch,
        "flags": 0,
        "active_gid": incarnation or leader.term,
        "active_name": leader.name,
        "active_addrs": {"addrvec": [address] if address else []},
        "active_addr": f"{leader.grpc_address}/0",
        "active_change": leader.since,
        "active_mgr_features": 0,
        "available": available,
        "standbys": [
            {
                "gid": gid(presence.incarnation),
                "name": presence.name,
                "mgr_features": 0,
                "available_modules": _modules_of_standby(presence.modules),
            }
            for presence in presences
            # Warm: one whose worker does not start could not take over.
            if presence.name != leader.name and presence.warm
        ],
        "modules": list(enabled),
        "available_modules": available_modules,
        "services": dict(services),
        "always_on_modules": dict(always_on),
        "force_disabled_modules": {"module": forced_off[-1]} if forced_off else {},
        "last_failure_osd_epoch": 0,
        "active_clients": [],
    }


@functools.lru_cache(maxsize=STANDBYS_CACHED)
def _modules_of_standby(reports: tuple[ModuleReport, ...]) -> Any:
    # The same for every manager with the same files, and in every term.
    return freeze(
        [
            {
                "name": report.name,
                "can_run": report.can_run,
                "error_string": report.error,
                "module_options": {},
            }
            for report in reports
        ]
    )


def health(document: Mapping[str, Any]) -> dict[str, str]:
    """Return the health document wrapped as Ceph does: as JSON text in a field ``json``."""
    return {"json": json.dumps(document)}


def config(options: Mapping[str, str], values: Mapping[str, str]) -> dict[str, str]:
    """Return every native option's value as text: from ``values`` if stored, else the default."""
    return {name: values.get(name) or default for name, default in options.items()}


def gid(incarnation: str) -> int:
    """Return a number for an incarnation: Ceph's modules expect one, our incarnation is a text."""
    return zlib.crc32(incarnation.encode())

"""The documents that modules read with ``get()``: made on the loop, read by every thread.

Each is made anew when what it shows has changed, once for all changes of one turn of the loop,
and then published as a whole. Reading one costs two dictionary lookups.
"""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from mgr.active.documents.empty import EMPTY_CEPH_DOCUMENTS, EMPTY_CEPH_TEXTS
from mgr.active.documents.fleet_documents import FLEET_DOCUMENTS, METADATA
from mgr.cluster.frozen import freeze
from mgr.election.records import Presence
from mgr.host.cluster_view import LeaderView
from mgr.host.finder import Catalogue
from mgr.module_api.notify import STORE, NotifyType

EMPTY_DICT_PREFIXES: Final = ("osd_map", "config", "device ")
"""Ceph answers an unknown name that begins so with an empty dictionary, any other with None."""
RESERVED_PREFIXES: Final = ("mgr_", "pg_")
"""Names that begin so may be documents of a later release."""
NOTIFICATION_KINDS: Final = frozenset({STORE, *(kind.value for kind in NotifyType)})
"""What modules are notified of as it is: a map of such a name could not be told from it."""


class Documents:
    """What is published now. ``get`` may be called from any thread."""

    def __init__(
        self, makers: Mapping[str, Callable[[], Any]], of_fleet: Callable[[str], Any]
    ) -> None:
        """Publish what each of ``makers`` returns, under its name.

        ``of_fleet`` has those about daemons, which are made by whoever reads them.
        """
        self._makers = makers
        self._of_fleet = of_fleet
        self._loop = asyncio.get_running_loop()
        self._stale: set[str] = set()
        self._published: dict[str, Any] = dict(EMPTY_CEPH_DOCUMENTS)
        for name in makers:
            self._make(name)

    def get(self, name: str) -> Any:
        """The document; at its top a dictionary of the caller's own, below that read only."""
        document = self._published.get(name)
        if document is not None:
            return dict(document)
        document = self._of_fleet(name)
        return default_document(name) if document is None else document

    def reserved(self, name: str) -> bool:
        """Whether a map must not be published under ``name``."""
        known = (
            name in self._published
            or name in EMPTY_CEPH_TEXTS
            or name in NOTIFICATION_KINDS
            or name in FLEET_DOCUMENTS
        )
        begins = name.startswith((*EMPTY_DICT_PREFIXES, *RESERVED_PREFIXES))
        return known or begins or name.endswith(METADATA)

    def current(self, name: str) -> Any:
        """The document as it is at this moment, made anew if it is stale. On the loop only."""
        if name in self._stale:
            self._make(name)
        return self._published[name]

    def mark_changed(self, *names: str) -> None:
        """Make these anew before the loop's next turn."""
        if not self._stale:
            self._loop.call_soon(self._remake)
        self._stale.update(names)

    def _remake(self) -> None:
        for name in tuple(self._stale):
            self._make(name)

    def _make(self, name: str) -> None:
        self._stale.discard(name)
        self._published[name] = freeze(self._makers[name]())


def default_document(name: str) -> Any:
    """What stands for a document that is not there: by the form of its name, often nothing."""
    if name in EMPTY_CEPH_TEXTS:
        return EMPTY_CEPH_TEXTS[name]
    return {} if name.startswith(EMPTY_DICT_PREFIXES) else None


def available_modules(catalogue: Catalogue, options: Callable[[str], Any]) -> list[dict[str, Any]]:
    """The part of ``mgr_map`` that says what modules there are; ``options`` by module name."""
    return [
        {
            "name": found.name,
            "can_run": found.can_run,
            "error_string": found.error,
            "module_options": {name: spec.in_map() for name, spec in options(found.name).items()},
        }
        for found in catalogue.values()
    ]


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
    """The map of managers, in Ceph's shape. ``available_modules`` is shared by the standbys."""
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
                "available_modules": [
                    {
                        "name": report.name,
                        "can_run": report.can_run,
                        "error_string": report.error,
                        "module_options": {},
                    }
                    for report in presence.modules
                ],
            }
            for presence in presences
            if presence.name != leader.name
        ],
        "modules": list(enabled),
        "available_modules": available_modules,
        "services": dict(services),
        "always_on_modules": dict(always_on),
        "force_disabled_modules": {"module": forced_off[-1]} if forced_off else {},
        "last_failure_osd_epoch": 0,
        "active_clients": [],
    }


def health(document: Mapping[str, Any]) -> dict[str, str]:
    """The health document, wrapped the way Ceph does: JSON in a field ``json``."""
    return {"json": json.dumps(document)}


def config(options: Mapping[str, str], values: Mapping[str, str]) -> dict[str, str]:
    """Every native option's value as text: ``values`` where stored, else the default."""
    return {name: values.get(name) or default for name, default in options.items()}


def gid(incarnation: str) -> int:
    """A number for an incarnation: Ceph's modules expect one, ours has a name."""
    return zlib.crc32(incarnation.encode())

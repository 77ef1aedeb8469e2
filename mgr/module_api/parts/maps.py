"""Lets a module publish maps, which ``get`` returns like other documents. Ours, not ceph-mgr's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mgr.module_api.declared import ActiveModuleBase


class MapsMixin(ActiveModuleBase):
    """Gives a module maps: JSON documents that it publishes for other modules and clients.

    A map outlives the module and the term. A module that lists the map's name in ``NOTIFY_TYPES``
    gets ``notify(<name>, version)`` after each change; several changes may be merged into one with
    the last version. Version 0 means that the map was removed. Maps that exist already are not
    notified: read them.
    """

    def get_map(self, name: str) -> tuple[int, Any]:
        """Return a published map's version and the map itself; 0 and None if there is none.

        The map is read only and shared: the same object until the map changes.
        """
        return self._context.get_map(name)

    def get_map_versions(self) -> dict[str, int]:
        """Return the version of every published map, by name."""
        return self._context.get_map_versions()

    def set_map(self, name: str, document: Mapping[str, Any]) -> int:
        """Publish ``document`` and return its version, once it is stored.

        Publishing the same document again changes nothing.

        Raises:
            TypeError: The document contains a value that JSON cannot represent.
            ValueError: The name is taken or invalid, or the document is above the limit.

        """
        version = self._context.set_map(name, _text(document), None)
        if version is None:
            raise AssertionError("nothing was expected")
        return version

    def compare_and_set_map(
        self, name: str, expected_version: int, document: Mapping[str, Any] | None
    ) -> int | None:
        """Publish ``document`` if the map has ``expected_version`` (0: if there is no map).

        Returns the new version, or None if the map has another version. ``document`` None removes
        the map; the new version is 0 then.
        """
        if document is None:
            removed = self._context.remove_map(name, expected_version)
            return None if removed is None else 0
        return self._context.set_map(name, _text(document), expected_version)

    def set_ceph_documents(self, documents: Mapping[str, Any]) -> None:
        """Publish documents of a Ceph cluster (``osd_map``, ``df`` ...), by name, for ``get``.

        They replace the empty ones of a manager without Ceph, in memory, until this module stops.
        Modules are notified of ``osd_map``, ``fs_map``, ``mon_map`` and ``pg_summary``.

        Raises:
            TypeError: A document contains a value that JSON cannot represent.
            ValueError: A name is not one of Ceph's documents.

        """
        texts = {name: json.dumps(document) for name, document in documents.items()}
        self._context.set_ceph_documents(texts)

    def remove_map(self, name: str) -> bool:
        """Remove a map; return whether there was one."""
        return bool(self._context.remove_map(name, None))


def _text(document: Mapping[str, Any]) -> str:
    # NaN is not valid JSON, although the library would write it.
    return json.dumps(dict(document), allow_nan=False, ensure_ascii=False, separators=(",", ":"))

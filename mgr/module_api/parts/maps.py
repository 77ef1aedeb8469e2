"""Maps that a module publishes: ours, not ceph-mgr's. They are read with ``get``, as all others."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mgr.module_api.declared import ActiveModuleBase


class MapsMixin(ActiveModuleBase):
    """The part of ``MgrModule`` about documents for everybody: other modules and clients.

    A map outlives the module and the term. Who names it in ``NOTIFY_TYPES`` is told of each
    change by ``notify(<name>, version)``; several changes may be told as one, with the last
    version, and version 0 says that it is gone. What is there already is not told: read it.
    """

    def get_map(self, name: str) -> tuple[int, Any]:
        """A published map's version and the map itself; 0 and None where there is none.

        The map is read only and shared: the same object until it is changed.
        """
        return self._context.get_map(name)

    def get_map_versions(self) -> dict[str, int]:
        """The version of every published map, by name."""
        return self._context.get_map_versions()

    def set_map(self, name: str, document: Mapping[str, Any]) -> int:
        """Publish ``document`` for all to read; the version that it has then.

        Publishing once more what is there already changes nothing. Returns once it is stored.

        Raises:
            TypeError: The document holds what JSON cannot.
            ValueError: The name is taken or is none, or the document is above the limit.

        """
        version = self._context.set_map(name, _text(document), None)
        if version is None:
            raise AssertionError("nothing was expected")
        return version

    def compare_and_set_map(
        self, name: str, expected_version: int, document: Mapping[str, Any] | None
    ) -> int | None:
        """As ``set_map``, if ``expected_version`` is there, 0 for none; None: it is not.

        ``document`` None withdraws the map; the version is 0 then.
        """
        if document is None:
            removed = self._context.remove_map(name, expected_version)
            return None if removed is None else 0
        return self._context.set_map(name, _text(document), expected_version)

    def remove_map(self, name: str) -> bool:
        """Withdraw a map; whether there was one."""
        return bool(self._context.remove_map(name, None))


def _text(document: Mapping[str, Any]) -> str:
    # Not a number is no JSON, whatever the library thinks of it.
    return json.dumps(dict(document), allow_nan=False, ensure_ascii=False, separators=(",", ":"))

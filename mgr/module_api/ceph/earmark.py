"""Earmarks: marks on a file system's subvolumes that name the service which may use them."""

from __future__ import annotations

import logging
from typing import Any

from mgr.module_api.ceph.cephfs import CephfsClient, open_filesystem
from mgr.module_api.mgr_util.optional_import import library

log = logging.getLogger(__name__)


class CephFSEarmarkResolver:
    """Reads and writes earmarks, by path and volume. Ceph's own package defines their format."""

    def __init__(self, mgr: Any, *, client: CephfsClient[Any] | None = None) -> None:
        """Work for ``mgr``, a module, over its ``client`` if it has one already."""
        self._client = client or CephfsClient(mgr)

    def get_earmark(self, path: str, volume: str) -> str | None:
        """Return the earmark of the subvolume at ``path``; None if it cannot be read.

        Raises:
            CephfsConnectionException: The volume cannot be reached.

        """
        forms = _forms()
        with open_filesystem(self._client, volume) as filesystem:
            try:
                earmark = forms.CephFSVolumeEarmarking(filesystem, path).get_earmark()
            except forms.EarmarkException as error:
                fields = {"path": path, "error": str(error)}
                log.error("earmark not read", extra=fields)  # noqa: TRY400 - an answer, no fault
                return None
        return None if earmark is None else str(earmark)

    def set_earmark(self, path: str, volume: str, earmark: str) -> None:
        """Set ``earmark`` on the subvolume at ``path``; log an error if it is refused.

        Raises:
            CephfsConnectionException: The volume cannot be reached.

        """
        forms = _forms()
        with open_filesystem(self._client, volume) as filesystem:
            try:
                forms.CephFSVolumeEarmarking(filesystem, path).set_earmark(earmark)
            except forms.EarmarkException as error:
                fields = {"path": path, "error": str(error)}
                log.error("earmark not set", extra=fields)  # noqa: TRY400 - as above

    def check_earmark(self, earmark: str, top_level_scope: Any) -> bool:
        """Return whether ``earmark`` belongs to the service ``top_level_scope``."""
        forms = _forms()
        try:
            parsed = forms.CephFSVolumeEarmarking.parse_earmark(earmark)
        except forms.EarmarkParseError:
            return False
        return parsed is not None and parsed.top == top_level_scope


def _forms() -> Any:
    return library("ceph.fs.earmarking", "CephFSEarmarkResolver")

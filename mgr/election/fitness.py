"""May this manager lead on the store it was given? Judged from what the store says of itself."""

from __future__ import annotations

import re
from typing import Final

from mgr.store.api import StoreStatus

TRUSTED_FROM: Final = ((3, 5, 28), (3, 6, 9), (3, 7, 0))
"""The first release of each line that renews no revoked lease and serves no stale read."""

_VERSION: Final = re.compile(r"(\d+)\.(\d+)\.(\d+)")


class Fitness:
    """What was seen of the store, and what is wrong with it."""

    def __init__(self, *, untrusted: bool) -> None:
        """With ``untrusted``, lead on any version (a setting for tests)."""
        self.trouble = ""
        """Why not to lead, for an operator; empty if there is nothing against it."""
        self._untrusted = untrusted
        self._seen: StoreStatus | None = None

    def examine(self, status: StoreStatus) -> None:
        """Judge anew. A store that turned into another one stays refused until a restart."""
        self.trouble = self._other_store(status) or self._old_version(status)
        if self._seen is None or not self.trouble:
            self._seen = status

    def _old_version(self, status: StoreStatus) -> str:
        if self._untrusted or is_trusted(status.version):
            return ""
        return (
            f"etcd {status.version} must not decide who leads, its leases and reads have known "
            "defects: use 3.5.28, 3.6.9 or newer (for tests only: etcd_untrusted = true)"
        )

    def _other_store(self, status: StoreStatus) -> str:
        seen = self._seen
        if seen is None:
            return ""
        if status.cluster_id != seen.cluster_id:
            return (
                f"etcd is another cluster now (id {status.cluster_id:x}, before "
                f"{seen.cluster_id:x}): restart mgrd if that is meant"
            )
        if status.revision < seen.revision:
            return (
                f"etcd went back in time (revision {status.revision}, before {seen.revision}), "
                "restored from a backup? Restart mgrd if that is meant"
            )
        return ""


def is_trusted(version: str) -> bool:
    """Whether an etcd of this version may decide who leads; not if the version is unreadable."""
    numbers = _VERSION.match(version)
    if numbers is None:
        return False
    found = tuple(int(number) for number in numbers.groups())
    line = [first for first in TRUSTED_FROM if first[:2] == found[:2]]
    return found >= line[0] if line else found > TRUSTED_FROM[-1]

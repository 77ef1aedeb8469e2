"""How full etcd is, and which writes are refused to keep a reserve.

An etcd whose database reaches its quota takes no writes at all: nobody can lead, and an operator
has to repair it. So data that clients cause to be stored may fill a part of it only. Writes that
keep the cluster led (leader key, heartbeat, health, history) are never refused here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from mgr.errors import StoreFullError
from mgr.store.api import Operation, Put, Record
from mgr.store.keys import Keys

GROWTH_SHARE: Final = 0.8
"""From this share of the quota on, records of clients may not grow."""
CHANGE_SHARE: Final = 0.9
"""From this share on, they may not be written: etcd keeps every version until it is compacted."""
REQUEST_SHARE: Final = 0.95
"""From this share on, no mutating command begins, not even one that removes something."""
DEFAULT_QUOTA_BYTES: Final = 2 << 30
"""Etcd's own default, taken where neither etcd nor a setting tells the quota."""


class StoreSpace:
    """The size of the database as last observed, plus what was written since."""

    def __init__(self, keys: Keys, quota_bytes: int = 0) -> None:
        """Judge writes of ``keys``; ``quota_bytes`` 0: what etcd tells, else its default."""
        self._given_quota_bytes = quota_bytes
        self._quota_bytes = quota_bytes or DEFAULT_QUOTA_BYTES
        self._used_bytes = 0
        self._observed = False
        # Options and capabilities are small: they may grow while other records may not.
        self._growing = (keys.daemons, keys.maps, keys.kv, keys.databases, keys.packages)
        self._changing = (*self._growing, keys.config, keys.access)
        self._requests = keys.requests

    @property
    def used_bytes(self) -> int:
        """Used bytes; 0 before etcd has told."""
        return self._used_bytes

    @property
    def quota_bytes(self) -> int:
        """The quota in bytes."""
        return self._quota_bytes

    @property
    def used_share(self) -> float:
        """The used share of the quota, 0.0 to 1.0."""
        return self._used_bytes / self._quota_bytes

    @property
    def is_scarce(self) -> bool:
        """Whether records of clients may not grow."""
        return self.used_share >= GROWTH_SHARE

    def observe(self, used_bytes: int, quota_bytes: int = 0) -> None:
        """Take the size that etcd reports; ``quota_bytes`` 0: it does not tell."""
        self._observed = True
        self._used_bytes = used_bytes
        self._quota_bytes = self._given_quota_bytes or quota_bytes or DEFAULT_QUOTA_BYTES

    def admit(self, operations: Sequence[Operation], known: Callable[[str], Record | None]) -> None:
        """Count what ``operations`` write, or refuse them; ``known`` returns the present record.

        Raises:
            StoreFullError: They would use the reserve. Nothing was written.

        """
        puts = [each for each in operations if isinstance(each, Put)]
        if self.is_scarce:
            for put in puts:
                self._check(put, known)
        if self._observed:  # else nothing would ever correct the sum
            self._used_bytes += sum(len(each.key) + len(each.value) for each in puts)

    def _check(self, put: Put, known: Callable[[str], Record | None]) -> None:
        if put.key.startswith(self._requests):
            refused = self.used_share >= REQUEST_SHARE
        elif put.key.startswith(self._growing) and self.used_share < CHANGE_SHARE:
            record = known(put.key)
            refused = record is None or len(put.value) > len(record.value)
        else:
            refused = self.used_share >= CHANGE_SHARE and put.key.startswith(self._changing)
        if refused:
            raise StoreFullError(
                f"etcd is {self.used_share:.0%} full, and the rest is kept for the managers: "
                "remove data, compact and defragment etcd, or raise its quota"
            )

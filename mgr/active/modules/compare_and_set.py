"""Writes a module's stored entries only if other entries have the values it expects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mgr.store.api import Operation, as_seen
from mgr.store.computed import ComputedWrite, commit_computed
from mgr.store.fenced import FencedStore
from mgr.store.mirror import Mirror


async def compare_and_set(
    operations: Sequence[Operation],
    expected: Mapping[str, str | None],
    *,
    fenced: FencedStore,
    mirror: Mirror,
) -> bool:
    """Commit ``operations`` if each key has its value in ``expected``; return whether it did.

    None stands for an absent key. The values are compared here, with the mirror's. The store then
    checks, in the fenced transaction, that none of these records has changed since.

    Raises:
        ConflictError: The values are as expected, but their records are rewritten all the time.
        StoreError: As ``FencedStore.commit``.

    """

    def compute() -> ComputedWrite | None:
        records = {key: mirror.get(key) for key in expected}
        if {key: found.value if found else None for key, found in records.items()} != expected:
            return None
        return ComputedWrite(operations, [as_seen(key, found) for key, found in records.items()])

    return await commit_computed(compute, fenced)

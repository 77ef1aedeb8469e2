"""Stored entries written under a condition: only if something stands as it is expected to."""

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
    """Do all ``operations`` at once if each key holds its value of ``expected``; whether it did.

    None is a key that is absent. Values are compared here, with what the mirror shows; that none
    of them has changed since is judged by the store, in the transaction that also proves the term.

    Raises:
        ConflictError: Everything stands as expected, and is being rewritten all the time.
        StoreError: As ``FencedStore.commit`` says.

    """

    def compute() -> ComputedWrite | None:
        records = {key: mirror.get(key) for key in expected}
        if {key: found.value if found else None for key, found in records.items()} != expected:
            return None
        return ComputedWrite(operations, [as_seen(key, found) for key, found in records.items()])

    return await commit_computed(compute, fenced)

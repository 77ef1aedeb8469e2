"""Stored entries written under a condition: only if something stands as it is expected to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from mgr.errors import ConflictError
from mgr.store.api import ABSENT, Modified, Operation, Store
from mgr.store.fenced import FencedStore
from mgr.store.mirror import Mirror

ATTEMPTS_MAX: Final = 3
"""Somebody who writes beside the active, straight into etcd, may come between this often."""
CATCH_UP_S: Final = 2.0
"""For the mirror to hear of what came between. It hears of anything within a second."""


async def commit_if(
    operations: Sequence[Operation],
    expected: Mapping[str, str | None],
    *,
    fenced: FencedStore,
    mirror: Mirror,
    store: Store,
) -> bool:
    """Do all ``operations`` at once if each key holds its value of ``expected``; whether it did.

    None is a key that is absent. Values are compared here, with what the mirror shows; that none
    of them has changed since is judged by the store, in the transaction that also proves the term.

    Raises:
        ConflictError: Everything stands as expected, and is being rewritten all the time.
        StoreError: As ``FencedStore.commit`` says.

    """
    trouble: ConflictError | None = None
    for _ in range(ATTEMPTS_MAX):
        records = {key: mirror.get(key) for key in expected}
        stands = {key: found.value if found else None for key, found in records.items()}
        if stands != expected:
            return False
        unchanged = [
            Modified(key, found.mod_revision if found else ABSENT) for key, found in records.items()
        ]
        try:
            await fenced.commit(operations, unchanged)
        except ConflictError as error:
            # The store is ahead of the mirror. What it holds may even be what is expected.
            trouble = error
            seen = await store.list(next(iter(expected)))
            await mirror.reached(seen.revision, CATCH_UP_S)
        else:
            return True
    raise trouble or AssertionError("an attempt ends in one of three ways")

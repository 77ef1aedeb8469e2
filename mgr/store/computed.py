"""Read-modify-write: computes a write from records and repeats it if they changed meanwhile.

Between reading and writing, other writes of the term, or a client that writes directly to etcd, may
come in. Without a condition the second of two such writes would undo what the first one added.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from mgr.errors import ConflictError
from mgr.store.api import Compare, FencedWriter, Operation

ATTEMPTS_MAX: Final = 5
"""Most attempts; each fails if another write came in between."""
TIMEOUT_S: Final = 5.0
"""Time limit of all attempts together."""
CATCH_UP_S: Final = 2.0
"""Time limit for the mirror to show the other write. It usually takes less than a second."""


@dataclass(frozen=True, slots=True)
class ComputedWrite:
    """The operations, and compares that hold while the records they were computed from last."""

    operations: Sequence[Operation]
    when: Sequence[Compare]


async def commit_computed(
    compute: Callable[[], ComputedWrite | None],
    writer: FencedWriter,
    *,
    timeout_s: float = TIMEOUT_S,
) -> bool:
    """Commit what ``compute`` returns; compute it again if its input changed meanwhile.

    ``compute`` reads the mirror of ``writer``. Returns False if it returned None: nothing to do.

    Raises:
        ConflictError: The input changed before every attempt. Nothing was written.
        StoreError: See ``FencedStore.commit``.

    """
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + timeout_s
    attempts = 0
    while (computed := compute()) is not None:
        attempts += 1
        try:
            await writer.commit(computed.operations, computed.when, timeout_s=ends_at - loop.time())
        except ConflictError:
            left_s = ends_at - loop.time()
            if attempts == ATTEMPTS_MAX or left_s <= 0:
                raise
            await writer.catch_up(computed.when, timeout_s=min(CATCH_UP_S, left_s))
        else:
            return True
    return False

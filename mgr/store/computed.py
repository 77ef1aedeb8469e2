"""Writes that are computed from what is read, and done only while that still stands.

Between reading and writing stand other writes of the term, and whoever writes past it. Without a
condition the last of two such writes takes along what the first one had added.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from mgr.errors import ConflictError
from mgr.store.api import Compare, FencedWriter, Operation

ATTEMPTS_MAX: Final = 5
"""So often others may come between."""
TIMEOUT_S: Final = 5.0
"""For all attempts together."""
CATCH_UP_S: Final = 2.0
"""For the mirror to hear of what came between. It hears of anything within a second."""


@dataclass(frozen=True, slots=True)
class ComputedWrite:
    """What is to be done, and the records that it was computed from, as they were read."""

    operations: Sequence[Operation]
    when: Sequence[Compare]


async def commit_computed(
    compute: Callable[[], ComputedWrite | None],
    writer: FencedWriter,
    *,
    timeout_s: float = TIMEOUT_S,
) -> bool:
    """Do what ``compute`` says; compute it anew where what it read has changed meanwhile.

    ``compute`` reads the mirror of ``writer``. False: it said that there is nothing to do.

    Raises:
        ConflictError: What it reads is being rewritten all the time. Nothing was written.
        StoreError: As ``FencedStore.commit`` says.

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

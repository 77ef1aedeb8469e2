"""Memory with the counters of daemons, which processes of modules map and read.

It is a file without a name. Its first page has a number that grows whenever a daemon has declared
counters. A reader that found none of a daemon asks for it again only after that number has grown.
A block of what follows has the ring of one daemon: a header of two numbers, who owns the block and
how many rows were written, then the rows as ``mgr.cluster.counters.Ring`` lays them out. An owner's
number is never used again: a reader that finds another one there asks again.
"""

from __future__ import annotations

import itertools
import mmap
import os
from collections import defaultdict, deque
from typing import Final, NamedTuple
from weakref import finalize

from mgr.cluster.counters import HEADER, ROWS, Place, Ring

SEGMENT_BYTES: Final = 8 << 20
"""The file grows by this much, or by one block if that is larger."""


class _Block(NamedTuple):
    view: memoryview
    segment_at: int
    segment_bytes: int
    block_at: int


class CounterMemory:
    """The file, and which of its blocks are free. Use it on the loop."""

    def __init__(self) -> None:
        """Reserve the first page.

        Raises:
            OSError: The system gives no memory.

        """
        self._fd: Final = os.memfd_create("mgr-counters", os.MFD_CLOEXEC)
        self._owners = itertools.count(1)
        self._bytes = mmap.PAGESIZE
        os.ftruncate(self._fd, self._bytes)
        # As one number, which is read and written at once and not byte by byte.
        self._declared = memoryview(mmap.mmap(self._fd, self._bytes)).cast("Q")
        self._segment = memoryview(b"")
        self._segment_at = self._used = 0
        # By size: daemons of one type have blocks of one size. A deque, since a block is given
        # back by whichever thread reads its ring last.
        self._free: defaultdict[int, deque[_Block]] = defaultdict(deque)

    @property
    def path(self) -> str:
        """Where another process of this user opens the file."""
        return f"/proc/{os.getpid()}/fd/{self._fd}"

    def on_declared(self) -> None:
        """Note that a daemon has declared counters."""
        self._declared[0] += 1

    def share(self, ring: Ring) -> Place | None:
        """Move a ring here, if it is not here yet; return where. None: it has no counters."""
        if not ring.schema.width:
            return None
        if ring.place is None:
            size = HEADER.size + ROWS * ring.stride * 8
            free = self._free[size]
            block = free.pop() if free else self._cut(size)
            place = Place(next(self._owners), block.segment_at, block.segment_bytes, block.block_at)
            ring.move(block.view, place)
            finalize(ring, _give_back, block, free)
        return ring.place

    def _cut(self, size: int) -> _Block:
        if self._used + size > len(self._segment):
            page = mmap.PAGESIZE
            wanted = max(SEGMENT_BYTES, (size + page - 1) // page * page)
            os.ftruncate(self._fd, self._bytes + wanted)
            self._segment = memoryview(mmap.mmap(self._fd, wanted, offset=self._bytes))
            self._segment_at, self._used = self._bytes, 0
            self._bytes += wanted
        at = self._used
        self._used += size
        return _Block(self._segment[at : at + size], self._segment_at, len(self._segment), at)


def _give_back(block: _Block, free: deque[_Block]) -> None:
    HEADER.pack_into(block.view, 0, 0, 0)
    free.append(block)

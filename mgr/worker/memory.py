"""Gives memory back to the system after a burst of requests.

The allocator of the C library keeps freed memory that lies below memory in use. After a burst of
large messages that can be hundreds of megabytes, for as long as the process lives.

What counts is how much it keeps, not how much the process has: memory that is in use when it is
looked at may be free a second later, and the process is no larger for that.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
from typing import Final

from mgr.host.bridge import run_in_thread

CHECK_EVERY_S: Final = 10.0
KEPT_BYTES: Final = 4 << 20
"""So much more freed memory than after the last time is worth an attempt."""
LARGE_BYTES: Final = 128 << 10
"""Larger pieces are mapped by themselves and given back as soon as they are freed. That is the C
library's own limit, but after the first such piece it raises it, up to 32 MiB."""
_M_MMAP_THRESHOLD: Final = -3

log = logging.getLogger(__name__)


class _Mallinfo2(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    )


async def give_memory_back() -> None:
    """Check every ``CHECK_EVERY_S`` how much freed memory is kept; give it back if that has grown.

    The C library must be glibc 2.33 or later; with another one this does nothing.
    """
    libc = ctypes.CDLL(None)
    trim, info = (getattr(libc, name, None) for name in ("malloc_trim", "mallinfo2"))
    if trim is not None:
        libc.mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)
    if trim is None or info is None:
        return
    info.restype = _Mallinfo2
    # What was given back still counts as freed, until it is used again.
    least: int = info().fordblks
    while True:
        await asyncio.sleep(CHECK_EVERY_S)
        kept: int = info().fordblks
        if kept > least + KEPT_BYTES:
            # In a thread: it walks all memory, without the interpreter lock.
            await run_in_thread("give-memory-back", lambda: trim(0))
            log.debug("memory given back", extra={"kept": kept, "before": least})
            least = info().fordblks
        least = min(least, kept)

"""Gives memory back to the system after a burst of requests.

The allocator of the C library keeps freed memory that lies below memory in use. After a burst of
large messages that can be hundreds of megabytes, for as long as the process lives.

Some ten megabytes stay after the first burst, most likely pages of which a part is in use, and
stacks of gRPC's threads; that was not measured.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
from pathlib import Path
from typing import Final, NoReturn

from mgr.host.bridge import run_in_thread

CHECK_EVERY_S: Final = 10.0
GROWN_BYTES: Final = 4 << 20
"""So much more memory than after the last time is worth an attempt."""
LARGE_BYTES: Final = 128 << 10
"""Larger pieces are mapped by themselves and given back as soon as they are freed. That is the C
library's own limit, but after the first such piece it raises it, up to 32 MiB."""
_M_MMAP_THRESHOLD: Final = -3
STATM: Final = Path("/proc/self/statm")

log = logging.getLogger(__name__)


async def give_memory_back() -> NoReturn:
    """Check the memory in use every ``CHECK_EVERY_S``; give freed memory back if it has grown."""
    libc = ctypes.CDLL(None)
    trim = getattr(libc, "malloc_trim", None)  # glibc's, as is mallopt
    if (mallopt := getattr(libc, "mallopt", None)) is not None:
        mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)
    lowest = resident_bytes()
    while True:
        await asyncio.sleep(CHECK_EVERY_S)
        before = resident_bytes()
        if trim is not None and before > lowest + GROWN_BYTES:
            # In a thread: it walks all memory, without the interpreter lock.
            await run_in_thread("give-memory-back", lambda: trim(0))
            lowest = resident_bytes()
            log.debug("memory given back", extra={"before": before, "after": lowest})
        lowest = min(lowest, before)


def resident_bytes() -> int:
    """Return the memory of this process."""
    pages = int(STATM.read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")

"""Other programs of the host, run with a limit on their time and on what they say."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import DEVNULL, STDOUT, Process
from collections.abc import AsyncIterator
from typing import IO, Final

LIMIT_S: Final = 10.0
KILL_WAIT_S: Final = 1.0
"""What is killed is gone at once, unless it hangs in the kernel: nobody waits for that."""
OUTPUT_BYTES_MAX: Final = 1 << 20


async def run(*command: str, limit_s: float = LIMIT_S) -> tuple[int, str]:
    """Run ``command``, without a shell; its exit status, and what it wrote to either output.

    It has ended when it and all to whom it gave its output have: those count for its time, and
    are killed with it.

    Raises:
        OSError: It cannot be started.
        TimeoutError: It did not end in time, and was killed.

    """
    # Not a pipe of asyncio's: there, waiting for the end would wait for the pipe's end as well,
    # which somebody may hold who cannot be killed.
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        try:
            process = await asyncio.create_subprocess_exec(
                *command, stdin=DEVNULL, stdout=writing, stderr=STDOUT, start_new_session=True
            )
        finally:
            os.close(writing)
        try:
            async with asyncio.timeout(limit_s), _reader(pipe) as reader:
                output = bytearray()
                while chunk := await reader.read(1 << 16):
                    output += chunk[: OUTPUT_BYTES_MAX - len(output)]
                status = await process.wait()
        except BaseException:
            await _kill(process)
            raise
    return status, output.decode(errors="replace")


@contextlib.asynccontextmanager
async def _reader(pipe: IO[bytes]) -> AsyncIterator[asyncio.StreamReader]:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    try:
        yield reader
    finally:
        transport.close()


async def _kill(process: Process) -> None:
    """End it and its group, which it leads; it may be gone while others of the group are not."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(KILL_WAIT_S):
            await process.wait()

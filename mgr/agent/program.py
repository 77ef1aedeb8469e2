"""Runs other programs of the host with limits on their time and their output."""

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
"""How long to wait for a killed process: it ends at once, unless it hangs in the kernel."""
OUTPUT_BYTES_MAX: Final = 1 << 20


async def run(*command: str, limit_s: float = LIMIT_S) -> tuple[int, str]:
    """Run ``command`` without a shell; return its exit status, and stdout and stderr together.

    The run ends when the command and all processes that inherited its output have ended: they
    count for the time limit, and are killed with it. Output beyond ``OUTPUT_BYTES_MAX`` is dropped.

    Raises:
        OSError: It cannot be started.
        TimeoutError: It did not end in time, and was killed.

    """
    # Not a pipe of asyncio's: waiting for the process would wait for the end of the pipe as well,
    # which a process that cannot be killed may hold open.
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
    """Kill ``process`` and its group, which may outlive it: ``process`` is the group's leader."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(KILL_WAIT_S):
            await process.wait()

"""Other programs of the host, run with a limit on their time and on what they say."""

from __future__ import annotations

import asyncio
import contextlib
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from typing import Final

LIMIT_S: Final = 10.0
OUTPUT_BYTES_MAX: Final = 1 << 20


async def run(*command: str, limit_s: float = LIMIT_S) -> tuple[int, str]:
    """Run ``command``, without a shell; its exit status, and what it wrote to either output.

    Raises:
        OSError: It cannot be started.
        TimeoutError: It did not end in time, and was killed.

    """
    running = await asyncio.create_subprocess_exec(
        *command, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT
    )
    assert running.stdout is not None  # noqa: S101 - for the type checker
    try:
        async with asyncio.timeout(limit_s):
            said = bytearray()
            while chunk := await running.stdout.read(1 << 16):
                said += chunk[: OUTPUT_BYTES_MAX - len(said)]
            status = await running.wait()
    finally:
        if running.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                running.kill()
            await running.wait()
    return status, said.decode(errors="replace")

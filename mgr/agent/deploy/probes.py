"""Finds out whether a daemon is ready."""

from __future__ import annotations

import asyncio
from typing import Final

from mgr.agent.program import run
from mgr.deployment import Probe

HOST: Final = "127.0.0.1"
LINE_MAX: Final = 4096


async def failure(probe: Probe) -> str:
    """Return why the daemon is not ready, in a few words; empty if it is."""
    try:
        async with asyncio.timeout(probe.timeout_s):
            if probe.tcp is not None:
                await _connect(probe.tcp)
                return ""
            if probe.http:
                return await _http(probe.http)
        # With a limit of its own, which also kills the program.
        status, _ = await run(*probe.command, limit_s=probe.timeout_s)
    except TimeoutError:
        return f"probe took longer than {probe.timeout_s:g} s"
    except OSError as error:
        return f"probe: {error.strerror or error}"
    return f"probe exited with {status}" if status else ""


async def _connect(port: int) -> None:
    _, writer = await asyncio.open_connection(HOST, port)
    writer.close()


async def _http(target: str) -> str:
    port, _, path = target.partition("/")
    reader, writer = await asyncio.open_connection(HOST, int(port), limit=LINE_MAX)
    try:
        writer.write(f"GET /{path} HTTP/1.0\r\nHost: {HOST}\r\n\r\n".encode())
        try:
            line = (await reader.readline()).decode(errors="replace").split()
        except ValueError:
            line = []
    finally:
        writer.close()
    if len(line) < 2 or not line[1].isdecimal():
        return "probe: no answer in HTTP"
    return "" if int(line[1]) < 400 else f"probe answered {line[1]}"

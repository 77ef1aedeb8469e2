"""What it costs at least that another process answers: bytes over bare sockets, nothing else.

``python -m bench.hops NEAR FAR`` passes bytes on between two sockets, by an event loop as that of
the worker; ``python -m bench.hops SOCKET`` sends back what it receives.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, Final

import uvloop

from mgr.clock import CLOCK

CALLS: Final = 1000
MESSAGE: Final = b"x" * 100


def by_way_of_a_loop() -> list[float]:
    """Microseconds of a call that a loop passes on to a third process, and of its answer."""
    caller, near = socket.socketpair()
    far, called = socket.socketpair()
    with caller, _helper(called), _helper(near, far):
        return [_call(caller) for _ in range(CALLS)][CALLS // 10 :]


def _call(sock: socket.socket) -> float:
    begun = CLOCK.now()
    sock.sendall(MESSAGE)
    if len(sock.recv(len(MESSAGE))) != len(MESSAGE):
        raise ConnectionError("a process between ended")
    return (CLOCK.now() - begun) * 1e6


@contextlib.contextmanager
def _helper(*sockets: socket.socket) -> Iterator[None]:
    fds = [sock.fileno() for sock in sockets]
    command = [sys.executable, "-m", "bench.hops", *map(str, fds)]
    with subprocess.Popen(command, pass_fds=fds) as process:
        for sock in sockets:
            sock.close()
        try:
            yield
        finally:
            process.kill()


class _PassesOn(asyncio.Protocol):
    """Writes to ``other`` what it receives."""

    other: _PassesOn
    transport: asyncio.Transport

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.other.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        os._exit(0)


async def _pass_on(near: socket.socket, far: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    first, second = _PassesOn(), _PassesOn()
    first.other, second.other = second, first
    # The far side first: it says nothing by itself.
    await loop.create_unix_connection(lambda: second, sock=far)
    await loop.create_unix_connection(lambda: first, sock=near)
    await asyncio.Event().wait()


def main(fds: list[int]) -> None:
    """Serve until killed."""
    sockets = [socket.socket(fileno=fd) for fd in fds]
    if len(sockets) > 1:
        uvloop.run(_pass_on(*sockets))
    while received := sockets[0].recv(len(MESSAGE)):
        sockets[0].sendall(received)


if __name__ == "__main__":
    main([int(fd) for fd in sys.argv[1:]])

"""A worker that speaks the link and does nothing else: for tests of the guard, as a process.

``FAKE_WORKER`` in the environment holds words: ``stubborn`` (does not drain), ``unquiesced``
(drains, but says that a module did not stop), ``helper`` (starts a process, as modules may),
``crash`` (dies as soon as it is warm), ``gibberish`` (then says what nobody understands),
``resign`` (asks to, when it leads).
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import faulthandler
import os
import signal
import socket
import subprocess

import msgspec

from mgr.clock import CLOCK
from mgr.link import (
    Begin,
    Drain,
    Drained,
    Heartbeat,
    Lead,
    Ready,
    Released,
    Resign,
    Retire,
    Started,
    encode,
    from_guard,
    open_link,
)
from mgr.settings import Settings

WORDS = set(os.environ.get("FAKE_WORKER", "").split())
PR_SET_PDEATHSIG = 1


async def beat(say, watchdog_s):
    """Show that the loop turns."""
    while True:
        say(Heartbeat(sent_s=CLOCK.now()))
        await asyncio.sleep(watchdog_s / 6)


def answer(say, message):
    """Do what the guard says."""
    match message:
        case Lead(term=term):
            say(Started(term=term))
            if "resign" in WORDS:
                say(Resign(reason="asked"))
        case Drain(term=term) if "stubborn" not in WORDS:
            say(Drained(term=term, quiesced="unquiesced" not in WORDS))
        case Released() | Retire():
            os._exit(0)


async def main():
    """Serve until told to go."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--link-fd", type=int, required=True)
    reader, writer = await open_link(socket.socket(fileno=parser.parse_args().link_fd))
    begin = from_guard(await reader.readline())
    assert isinstance(begin, Begin)
    settings = msgspec.json.decode(begin.settings, type=Settings)

    def say(message):
        writer.write(encode(message))

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(beat(say, settings.watchdog_s))
        if "helper" in WORDS:
            subprocess.Popen(["sleep", "300"])  # noqa: ASYNC220 - as a module's thread would
        say(Ready(grpc_address=f"{settings.id}:1", http_address=f"{settings.id}:2"))
        if "crash" in WORDS:
            await writer.drain()
            os.abort()
        if "gibberish" in WORDS:
            writer.write(b"{?}\n")
        while line := await reader.readline():
            answer(say, from_guard(line))
        os._exit(1)


if __name__ == "__main__":
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    asyncio.run(main())

"""A worker that speaks the link and does nothing else: for tests of the guard, as a process.

``FAKE_WORKER`` in the environment holds words: ``stubborn`` (does not drain), ``unquiesced``
(drains, but says that a module did not stop), ``helper`` (starts a process, as modules may),
``escape`` (starts one that leaves its session and its parent), ``outside`` (acts outside the
store: its time is to be limited), ``unable`` (leads and commits nothing),
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
import sys

import msgspec

from mgr.clock import CLOCK
from mgr.link import (
    ActsOutside,
    Drain,
    Drained,
    Init,
    LeadershipReleased,
    Promote,
    Ready,
    Resign,
    Shutdown,
    Started,
    TimeLimited,
    WorkerHeartbeat,
    encode,
    from_guard,
    open_link,
)
from mgr.settings import Settings

WORDS = set(os.environ.get("FAKE_WORKER", "").split())
PR_SET_PDEATHSIG = 1


LED_S = []
"""When it was told to lead."""


async def beat(send, watchdog_s):
    """Show that the loop turns."""
    while True:
        now_s = CLOCK.now()
        age_s = now_s - LED_S[0] if LED_S and "unable" in WORDS else None
        send(WorkerHeartbeat(sent_s=now_s, write_age_s=age_s))
        await asyncio.sleep(watchdog_s / 6)


def answer(send, message):
    """Carry out a message of the guard."""
    match message:
        case Promote(term=term):
            LED_S.append(CLOCK.now())
            send(Started(term=term))
            if "outside" in WORDS:
                send(ActsOutside(term=term, acts=True))
            if "resign" in WORDS:
                send(Resign(reason="asked"))
        case TimeLimited(term=term):
            sys.stdout.write(f"limited in term {term}\n")
            sys.stdout.flush()
        case Drain(term=term) if "stubborn" not in WORDS:
            send(Drained(term=term, quiesced="unquiesced" not in WORDS))
        case LeadershipReleased() | Shutdown():
            os._exit(0)


async def main():
    """Serve until told to go."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--link-fd", type=int, required=True)
    parser.add_argument("--trace-fd", type=int)
    reader, writer = await open_link(socket.socket(fileno=parser.parse_args().link_fd))
    begin = from_guard(await reader.readline())
    assert isinstance(begin, Init)
    settings = msgspec.json.decode(begin.settings, type=Settings)

    def send(message):
        writer.write(encode(message))

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(beat(send, settings.watchdog_s))
        if "helper" in WORDS:
            subprocess.Popen(["sleep", "300"])  # noqa: ASYNC220 - as a module's thread would
        if "escape" in WORDS:
            subprocess.Popen(["sh", "-c", "setsid sleep 301 &"])  # noqa: ASYNC220
        send(Ready(grpc_address=f"{settings.id}:1", http_address=f"{settings.id}:2"))
        if "crash" in WORDS:
            await writer.drain()
            os.abort()
        if "gibberish" in WORDS:
            writer.write(b"{?}\n")
        while line := await reader.readline():
            answer(send, from_guard(line))
        os._exit(1)


if __name__ == "__main__":
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    asyncio.run(main())

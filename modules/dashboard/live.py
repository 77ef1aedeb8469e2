"""Server-sent events: a page's content whenever it changed, and twice a second a sign of life."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

TICK_S: Final = 0.5
CONTENT_EVERY: Final = 2
"""The content is made at every so-manieth tick."""
STREAMS_MAX: Final = 64
HEADERS: Final = {"X-Accel-Buffering": "no", "Cache-Control": "no-store"}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a page shows now: its content, and the age of each source."""

    main: str
    tick: Mapping[str, Any]


def event(name: str, data: object) -> bytes:
    """Return one event; its data is one line of JSON."""
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()


async def events(
    make: Callable[[], Snapshot | None],
    tick: Callable[[], Mapping[str, Any]],
    stopping: asyncio.Event,
) -> AsyncIterator[bytes]:
    """Yield the events of one open page until the server stops.

    ``make`` runs on a thread, and may take long while etcd is silent: signs of life go on. It
    returns None when the viewer may not see the page any more.
    """
    loop = asyncio.get_running_loop()
    shown, sources, rounds = "", dict[str, Any](), 0
    making: asyncio.Future[Snapshot | None] | None = None
    # Whatever a proxy may hold back is sent with the first event.
    yield b": open\n\n"
    while not stopping.is_set():
        if making is None and rounds % CONTENT_EVERY == 0:
            making = loop.run_in_executor(None, make)
            await asyncio.wait({making}, timeout=TICK_S)
        if making is not None and making.done():
            made, making = making.result(), None
            if made is None:
                yield event("gone", "")
                return
            sources = dict(made.tick)
            yield event("tick", {**tick(), **sources})
            if made.main != shown:
                shown = made.main
                yield event("main", shown)
        else:
            yield event("tick", {**tick(), **sources})
        rounds += 1
        try:
            async with asyncio.timeout(TICK_S):
                await stopping.wait()
        except TimeoutError:
            continue
    yield event("bye", "")


def now() -> float:
    """Return the time of day in seconds since 1970, as pages show it."""
    return time.time()  # noqa: TID251 - shown to people

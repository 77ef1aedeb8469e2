"""A TCP proxy (a *cable*) whose behaviour a test changes while connections are open."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections import Counter
from collections.abc import Callable
from enum import Enum, auto
from typing import Self

Party = Callable[[int, int], str]
"""Who it is that connected from the first port to the second."""


class Mode(Enum):
    """What happens to bytes, in connections old and new."""

    PASS = auto()
    PAUSE = auto()
    """Nothing is carried, nothing is closed: a frozen host, a firewall that drops."""
    REQUESTS_ONLY = auto()
    """Bytes reach the server, none come back."""
    ANSWERS_ONLY = auto()
    """Bytes come back, none reach the server."""
    REFUSE = auto()
    """New connections are reset at once; old ones go on."""


class Proxy:
    """Use as ``async with Proxy("127.0.0.1:2379") as proxy``; connect to ``proxy.address``."""

    def __init__(self, target: str, party: Party | None = None) -> None:
        """Connect everybody to ``target``; ``party`` says who somebody is that connected."""
        self._target = target.rpartition(":")[::2]
        self._party = party
        self._server: asyncio.Server
        self._writers: dict[asyncio.StreamWriter, str] = {}
        self._modes: dict[str, Mode] = {}
        self._late_s: dict[str, float] = {}
        self._held_up: set[asyncio.StreamWriter] = set()
        self._changed = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._mode = Mode.PASS
        self.delay_s = 0.0
        """Every piece of either direction takes so long."""
        self.bytes_per_s = float("inf")
        """Low bandwidth: the time that a piece takes grows with its length."""
        self.carried_bytes: Counter[str] = Counter()
        """In both directions, by party."""

    @property
    def address(self) -> str:
        """Where clients connect."""
        host, port = self._server.sockets[0].getsockname()
        return f"{host}:{port}"

    @property
    def mode(self) -> Mode:
        """What happens to bytes now; what was held is carried once it may."""
        return self._mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        self._mode = mode
        self._modes.clear()
        self._announce()

    def set_for(self, party: str, mode: Mode) -> None:
        """What happens to the bytes of one party, whatever happens to the others'."""
        self._modes[party] = mode
        self._announce()

    def reset(self, party: str | None = None) -> None:
        """Break every open connection, as a rebooted host does; or those of one party."""
        for writer, whose in tuple(self._writers.items()):
            if party in {None, whose}:
                _reset(writer)

    def hold_up(self, party: str, late_s: float) -> None:
        """Let each request of a party arrive so much later, in open connections and in new ones.

        Nothing is lost, whatever its sender does meanwhile: requests that it gave up arrive, too.
        """
        self._late_s[party] = late_s

    def let_go(self) -> None:
        """Hold up no more. Connections that were held up break: bytes cannot overtake others."""
        self._late_s.clear()
        for writer in tuple(self._held_up):
            _reset(writer)

    def _announce(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _mode_of(self, party: str) -> Mode:
        return self._modes.get(party, self._mode)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.reset()
        self.mode = Mode.PASS
        async with asyncio.timeout(5):
            await self._idle.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        party = "" if self._party is None else self._party(*_ports(writer))
        if self._mode_of(party) is Mode.REFUSE:
            _reset(writer)
            return
        self._writers[writer] = party
        ends = {writer}
        self._idle.clear()
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
            ends.add(far_writer)
            self._writers[far_writer] = party
            async with asyncio.TaskGroup() as both:
                both.create_task(self._carry(reader, far_writer, party, Mode.REQUESTS_ONLY))
                both.create_task(self._carry(far_reader, writer, party, Mode.ANSWERS_ONLY))
        except OSError:
            pass  # the server is not there: this shows as a connection that ends at once
        finally:
            for end in ends:
                del self._writers[end]
                end.transport.abort()
            if not self._writers:
                self._idle.set()

    async def _carry(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        party: str,
        one_way: Mode,
    ) -> None:
        late_s = 0.0
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                while self._mode_of(party) not in (Mode.PASS, Mode.REFUSE, one_way):
                    await self._changed.wait()
                if self.delay_s or self.bytes_per_s < float("inf"):
                    await asyncio.sleep(self.delay_s + len(data) / self.bytes_per_s)
                self.carried_bytes[party] += len(data)
                if one_way is Mode.REQUESTS_ONLY:
                    late_s = max(late_s, self._late_s.get(party, 0.0))
                if late_s:
                    self._held_up.add(writer)
                    asyncio.get_running_loop().call_later(late_s, _write_late, writer, data)
                    continue
                writer.write(data)
                await writer.drain()
        if late_s:
            await asyncio.sleep(late_s)
        self._held_up.discard(writer)
        # One side hung up: so does the other.
        writer.close()


def _write_late(writer: asyncio.StreamWriter, data: bytes) -> None:
    if not writer.is_closing():
        writer.write(data)


def _ports(writer: asyncio.StreamWriter) -> tuple[int, int]:
    """The ports of a connection: of who connected, and ours."""
    return writer.get_extra_info("peername")[1], writer.get_extra_info("sockname")[1]


def _reset(writer: asyncio.StreamWriter) -> None:
    # A linger of zero turns the close into a reset.
    raw = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()

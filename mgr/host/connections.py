"""Accepts connections of a port and limits how many there are and how long they idle.

Used for HTTP and for the gRPC ports of clients without a certificate.

A new connection is always accepted. If there are too many, in all or from its address, the oldest
one without a complete request is closed for it. So a probe is answered beside any number of slow
or idle clients (docs/adr/0053). A connection is counted from the moment it is accepted: before its
TLS handshake, which is a way to be slow as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from enum import Enum, auto
from functools import partial
from typing import Final

from mgr.addresses import split_address
from mgr.client_limits import ClientLimits
from mgr.errors import CannotListenError

HEAD_S: Final = 5.0
"""Time from the beginning of a request (for the first one: of the connection) to the end of its
head, TLS handshake included."""
ANSWER_S: Final = 30.0
"""Time from the end of a request's head until its answer is sent."""
IDLE_S: Final = 30.0
"""A kept-alive connection without a request is closed after this."""
SWEEP_EVERY_S: Final = 0.5
ACCEPT_PAUSE_S: Final = 0.05
"""Pause after the system refused to accept: usually no file descriptor is left."""


class State(Enum):
    """What a connection does."""

    WAITING = auto()
    """It has no complete request: the TLS handshake or a head is under way, or it is idle."""
    SERVED = auto()
    """A request is complete and its answer is not."""
    CLOSED = auto()


class Connection:
    """One accepted connection. ``deadline_s`` is the moment at which it is closed."""

    __slots__ = ("address", "deadline_s", "opening", "state", "transport")

    def __init__(self, address: str, deadline_s: float) -> None:
        """Begin without a transport: the TLS handshake is under way."""
        self.address = address
        self.deadline_s = deadline_s
        self.state = State.WAITING
        self.transport: asyncio.Transport | None = None
        self.opening: asyncio.Task[None] | None = None

    def abort(self) -> None:
        """Close it at once, whatever is still to be sent."""
        if self.transport is not None:
            self.transport.abort()
        elif self.opening is not None:
            self.opening.cancel()


class ConnectionTable:
    """The open connections: those that wait for a request, oldest first, and those served."""

    def __init__(
        self,
        now: Callable[[], float],
        limits: ClientLimits,
        *,
        connections_max: int,
        address_max: int,
        port: str = "http",
    ) -> None:
        """Keep ``connections_max`` connections at most, ``address_max`` of one address.

        ``now`` returns the loop's time; closed connections are reported to ``limits``, by names
        that begin with ``port``.
        """
        self._now = now
        self._limits = limits
        self._port = port
        self._connections_max = connections_max
        self._address_max = address_max
        # By address; dictionaries keep the order in which connections began to wait.
        self._waiting: dict[str, dict[Connection, None]] = {}
        self._served: set[Connection] = set()
        self._counts: dict[str, int] = {}
        self._total = 0

    def __len__(self) -> int:
        """Return the number of open connections."""
        return self._total

    def add(self, address: str) -> Connection | None:
        """Add a connection from ``address``; close the oldest waiting one if there are too many.

        Returns None if every connection is being served: the new one is to be closed.
        """
        limit, crowded = "", address
        if self._counts.get(address, 0) >= self._address_max:
            limit = f"{self._port}_address_connections"
        elif self._total >= self._connections_max:
            limit, crowded = f"{self._port}_connections", self._most_waiting()
        if limit:
            self._limits.reached(limit, crowded or address)
            if not self._close_oldest(crowded):
                return None
        connection = Connection(address, self._now() + HEAD_S)
        self._counts[address] = self._counts.get(address, 0) + 1
        self._total += 1
        self._waiting.setdefault(address, {})[connection] = None
        return connection

    def remove(self, connection: Connection) -> None:
        """Remove a closed connection; may be called again."""
        if connection.state is State.CLOSED:
            return
        self._leave(connection)
        connection.state = State.CLOSED
        self._total -= 1
        self._counts[connection.address] -= 1
        if not self._counts[connection.address]:
            del self._counts[connection.address]

    def begin_head(self, connection: Connection) -> None:
        """Note that bytes of a request's head arrived."""
        if connection.state is State.WAITING:
            connection.deadline_s = min(connection.deadline_s, self._now() + HEAD_S)

    def begin_answer(self, connection: Connection, limit_s: float = ANSWER_S) -> None:
        """Note that the head of a request is complete: the connection is not closed for others.

        Its answer may take ``limit_s``.
        """
        if connection.state is State.WAITING:
            self._leave(connection)
            connection.state = State.SERVED
            self._served.add(connection)
        connection.deadline_s = self._now() + limit_s

    def end_answer(self, connection: Connection) -> None:
        """Note that the answer is complete: the connection waits for the next request."""
        if connection.state is State.SERVED:
            self._leave(connection)
            connection.state = State.WAITING
            self._waiting.setdefault(connection.address, {})[connection] = None
        connection.deadline_s = self._now() + IDLE_S

    def sweep(self) -> None:
        """Close every connection whose time is over."""
        now_s = self._now()
        waiting = [each for queue in self._waiting.values() for each in queue]
        for connection in waiting:
            if connection.deadline_s <= now_s:
                self._close(connection)
        for connection in tuple(self._served):
            if connection.deadline_s <= now_s:
                self.refuse(connection, "answer_time")

    def refuse(self, connection: Connection, limit: str) -> None:
        """Close a connection that reached ``limit``, which is counted by the port's name."""
        self._limits.reached(f"{self._port}_{limit}", connection.address)
        self._close(connection)

    def close_all(self) -> None:
        """Close every connection."""
        waiting = [each for queue in self._waiting.values() for each in queue]
        for connection in (*waiting, *self._served):
            self._close(connection)

    def close_oldest(self) -> None:
        """Close the oldest waiting connection, for the system has no file descriptors left."""
        crowded = self._most_waiting()
        self._limits.reached(f"{self._port}_descriptors", crowded)
        self._close_oldest(crowded)

    def _close_oldest(self, address: str) -> bool:
        oldest = next(iter(self._waiting.get(address, ())), None)
        if oldest is not None:
            self._close(oldest)
        return oldest is not None

    def _close(self, connection: Connection) -> None:
        self.remove(connection)
        connection.abort()

    def _most_waiting(self) -> str:
        return max(self._waiting, key=lambda each: len(self._waiting[each]), default="")

    def _leave(self, connection: Connection) -> None:
        if connection.state is State.SERVED:
            self._served.discard(connection)
            return
        waiting = self._waiting[connection.address]
        del waiting[connection]
        if not waiting:
            del self._waiting[connection.address]


def listen_at(listen: str, setting: str, backlog: int) -> socket.socket:
    """Return a socket that listens at ``listen``, ``host:port``, the value of ``setting``.

    Raises:
        CannotListenError: The address cannot be bound; the message names it.

    """
    host, port = split_address(listen, setting)
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise CannotListenError(f"{setting}: {listen}: {error.strerror}") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        # Listen before anything accepts: clients then wait in the backlog and are not refused.
        listener.listen(backlog)
        listener.settimeout(0)
    except OSError as error:
        listener.close()
        raise CannotListenError(f"{setting}: cannot listen on {listen}: {error.strerror}") from None
    return listener


class _Opening(asyncio.Protocol):
    """Makes a connection's protocol once TLS is agreed on: many a client never gets there."""

    def __init__(self, make_protocol: Callable[[], asyncio.Protocol]) -> None:
        self._make_protocol = make_protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        protocol = self._make_protocol()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)


class Acceptor:
    """Accepts the connections of one listening socket."""

    def __init__(
        self,
        listener: socket.socket,
        table: ConnectionTable,
        make_protocol: Callable[[Connection], asyncio.Protocol],
        tls: ssl.SSLContext | None,
    ) -> None:
        """Serve each connection with its own protocol, over TLS if ``tls`` is given."""
        self._listener = listener
        self._table = table
        self._make_protocol = make_protocol
        self._tls = tls

    def use(self, tls: ssl.SSLContext) -> None:
        """Use ``tls`` for connections from now on."""
        self._tls = tls

    async def run(self) -> None:
        """Accept until cancelled."""
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._sweep())
            while True:
                try:
                    accepted, peer = await loop.sock_accept(self._listener)
                except ConnectionAbortedError:
                    continue
                except OSError:
                    self._table.close_oldest()
                    await asyncio.sleep(ACCEPT_PAUSE_S)
                    continue
                connection = self._table.add(str(peer[0]) if peer else "")
                if connection is None:
                    accepted.close()
                else:
                    opening = self._open(connection, accepted)
                    connection.opening = tasks.create_task(opening)

    async def _open(self, connection: Connection, accepted: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            with contextlib.suppress(OSError):
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.connect_accepted_socket(
                lambda: _Opening(partial(self._make_protocol, connection)),
                accepted,
                ssl=self._tls,
                ssl_handshake_timeout=HEAD_S if self._tls else None,
                ssl_shutdown_timeout=HEAD_S if self._tls else None,
            )
        except (OSError, asyncio.CancelledError):
            # The client went away, spoke no TLS, took too long, or was the oldest of too many.
            self._table.remove(connection)
            accepted.close()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_EVERY_S)
            self._table.sweep()

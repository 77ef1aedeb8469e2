"""A gRPC port with TLS of our own, and a limit for what clients send before they are known.

For clients without a certificate, and for all if the setting ``grpc_hold_unacknowledged`` says so.
TLS ends here. What a client sends passes on, over the loopback interface, to gRPC's own server
once the client has acknowledged that server's settings (``mgr.rpc.acknowledged``).
"""

from __future__ import annotations

import asyncio
import math
import socket
import ssl
from functools import partial
from typing import Final, cast

from mgr.addresses import advertised_address
from mgr.client_limits import ClientLimits
from mgr.host.connections import Acceptor, Connection, ConnectionTable, listen_at
from mgr.host.server_tls import ServerTls
from mgr.rpc.acknowledged import AcknowledgedFirst, NotAcknowledgedError
from mgr.tls import Tls

LOOPBACK: Final = "127.0.0.1"
BACKLOG: Final = 256
FORGET_S: Final = 60.0
"""A call outlives its connection by less: for so long it is known where it came from."""


class OpenPort:
    """A listening port, in front of a gRPC server on the loopback interface.

    Attributes:
        address: The one published to clients, with the bound port.

    """

    def __init__(
        self, address: str, listener: socket.socket, table: ConnectionTable, acceptor: Acceptor
    ) -> None:
        """Made by ``open_port``."""
        self.address: Final = address
        self._table = table
        self._listener = listener
        self._acceptor = acceptor
        self._accepting: asyncio.Task[None] | None = None

    def start(self, tasks: asyncio.TaskGroup) -> None:
        """Accept connections, in ``tasks``."""
        self._accepting = tasks.create_task(self._acceptor.run(), name="accept grpc")

    async def stop_accepting(self) -> None:
        """Accept no further connections. Those that are open stay so."""
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.wait([self._accepting])
        self._listener.close()

    def close(self) -> None:
        """Close the connections, after gRPC's server has stopped."""
        self._table.close_all()


def open_port(  # noqa: PLR0913 - what it is made of, each by name
    listen: str,
    setting: str,
    *,
    inner_port: int,
    tls: ServerTls,
    limits: ClientLimits,
    connections_max: int,
    tasks: asyncio.TaskGroup,
    advertise: str = "",
    clients_authenticate: bool = False,
) -> OpenPort:
    """Bind ``listen``, the value of ``setting``, before a server at ``inner_port``.

    What arrives is passed on in ``tasks``. Half of ``connections_max`` may be of one address.
    With ``clients_authenticate``, clients must present a certificate of the CA in ``tls``.

    Raises:
        CannotListenError: The address cannot be bound; the message names it.

    """
    table = ConnectionTable(
        asyncio.get_running_loop().time,
        limits,
        connections_max=connections_max,
        address_max=max(1, connections_max // 2),
        port=setting.removesuffix("_listen"),
    )

    def protocol(connection: Connection) -> _Client:
        return _Client(connection, table, inner_port, tasks)

    listener = listen_at(listen, setting, BACKLOG)
    address = advertised_address(listen, advertise, listener.getsockname()[1])
    context = partial(_context, clients_authenticate=clients_authenticate)
    acceptor = Acceptor(listener, table, protocol, context(tls.current))
    tls.subscribe(lambda new: acceptor.use(context(new)))
    return OpenPort(address, listener, table, acceptor)


def _context(tls: Tls, *, clients_authenticate: bool) -> ssl.SSLContext:
    context = tls.server_context(ssl.CERT_REQUIRED if clients_authenticate else ssl.CERT_NONE)
    context.set_alpn_protocols(["h2"])
    return context


class _Half(asyncio.Protocol):
    """One end of the way: what arrives goes to the other end, no faster than that takes it."""

    def __init__(self) -> None:
        self.other: _Half | None = None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.write(data)

    def pause_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.resume_reading()

    def connection_lost(self, _error: Exception | None) -> None:
        other, self.other = self.other, None
        if other is not None:
            other.close()

    def close(self) -> None:
        """Close this end, once it has sent what it has."""
        if self.transport is not None:
            self.transport.close()


class _Client(_Half):
    """The client's end."""

    def __init__(
        self,
        connection: Connection,
        table: ConnectionTable,
        inner_port: int,
        tasks: asyncio.TaskGroup,
    ) -> None:
        super().__init__()
        self._connection = connection
        self._table = table
        self._inner_port = inner_port
        self._tasks = tasks
        self._first: AcknowledgedFirst | None = AcknowledgedFirst()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._connection.transport = self.transport
        # Until there is where to pass it on.
        cast("asyncio.Transport", transport).pause_reading()
        self._tasks.create_task(self._connect(), name="pass on to grpc")

    async def _connect(self) -> None:
        inner = _Inner(self, self._connection.address, _certificate(self.transport))
        try:
            await asyncio.get_running_loop().create_connection(
                lambda: inner, LOOPBACK, self._inner_port
            )
        except OSError:
            # gRPC's server has stopped, or no file descriptor is left.
            self._connection.abort()
            return
        if self.transport is None or self.transport.is_closing():
            inner.close()
            return
        self.other = inner
        self.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        if self._first is None:
            super().data_received(data)
            return
        try:
            passed = self._first.feed(data)
        except NotAcknowledgedError:
            self._table.refuse(self._connection, "headers")
            return
        if self._first.acknowledged:
            self._first = None
            # gRPC limits how long it may be open: by its age, or by pings.
            self._table.begin_answer(self._connection, math.inf)
        super().data_received(passed)

    def connection_lost(self, error: Exception | None) -> None:
        self._table.remove(self._connection)
        super().connection_lost(error)


def _certificate(transport: asyncio.Transport | None) -> bytes:
    tls = None if transport is None else transport.get_extra_info("ssl_object")
    der: bytes | None = None if tls is None else tls.getpeercert(binary_form=True)
    return ssl.DER_cert_to_PEM_cert(der).encode() if der else b""


class _Inner(_Half):
    """The end at gRPC's server; ``address`` and ``certificate`` are those of the client."""

    def __init__(self, client: _Client, address: str, certificate: bytes) -> None:
        super().__init__()
        self.other = client
        self.address = address
        self.certificate = certificate
        self._known_as = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        host, port = transport.get_extra_info("sockname")
        self._known_as = f"{host}:{port}"
        _ENDS[self._known_as] = self

    def connection_lost(self, error: Exception | None) -> None:
        # From now on another program of this host may get its port.
        self.certificate = b""
        asyncio.get_running_loop().call_later(FORGET_S, self._forget)
        super().connection_lost(error)

    def _forget(self) -> None:
        if _ENDS.get(self._known_as) is self:
            del _ENDS[self._known_as]


_ENDS: Final[dict[str, _Inner]] = {}
"""Our own ends of connections, by what gRPC takes for the address of their client."""


def client_address(peer: str) -> str:
    """Return the IP address of the client that gRPC sees at ``peer``, ``host:port``."""
    end = _ENDS.get(peer)
    return peer.rpartition(":")[0].strip("[]") if end is None else end.address


def client_certificate(peer: str) -> bytes:
    """Return the certificate, in PEM form, of the client that gRPC sees at ``peer``.

    Empty: it has shown none, or its connection has ended.
    """
    end = _ENDS.get(peer)
    return b"" if end is None else end.certificate

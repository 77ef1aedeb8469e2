"""Uvicorn's HTTP protocol with limits: what a client sends costs bounded memory and time."""

from __future__ import annotations

import asyncio
from typing import Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from mgr.client_limits import ClientLimits
from mgr.host.connections import Connection, ConnectionTable
from mgr.http.access import CERTIFICATE

HEAD_BYTES_MAX: Final = 16 << 10
"""Limit of a request's head: its first line and its headers."""
HEADERS_MAX: Final = 100
PIPELINED_MAX: Final = 16
"""Limit of requests that a client sends before the answer to the first one."""
FRAMING_BYTES_MAX: Final = 16 << 10
"""Limit of what stands between two parts of a chunked body, and after the last: trailers."""


class TooManyHeadersError(Exception):
    """Ends the parsing of a head with more than ``HEADERS_MAX`` headers."""


class LimitedProtocol(HttpToolsProtocol):
    """One connection. A request above a limit is answered 431 or 400, and the connection ends.

    Uvicorn's own limits count requests only. The parser has none for the head, whose parts it joins
    again for each packet.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        connection: Connection,
        table: ConnectionTable,
        limits: ClientLimits,
    ) -> None:
        """Serve ``connection``, whose state ``table`` keeps; report refusals to ``limits``."""
        super().__init__(config=config, server_state=server_state, app_state={})
        self._connection = connection
        self._table = table
        self._limits = limits
        self._in_head = True
        self._head_bytes = 0
        self._framing_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See ``asyncio.Protocol``."""
        self._connection.transport = transport
        encrypted = transport.get_extra_info("ssl_object")
        certificate = encrypted.getpeercert(binary_form=True) if encrypted is not None else None
        self.app_state = {CERTIFICATE: certificate or b""}
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """See ``asyncio.Protocol``."""
        self._table.remove(self._connection)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse in pieces of at most ``HEAD_BYTES_MAX``, so that no larger head is ever parsed."""
        for start in range(0, len(data), HEAD_BYTES_MAX):
            if self.transport.is_closing():
                return
            piece = data[start : start + HEAD_BYTES_MAX]
            if self._in_head:
                self._table.begin_head(self._connection)
                piece, rest = self._room_for(piece)
                super().data_received(piece)
                if self._waits_for_head(rest):
                    self._refuse_head()
                    return
                piece = rest
            if piece and not self.transport.is_closing():
                self._framing_bytes += len(piece)
                super().data_received(piece)
                self._check_framing()
            if len(self.pipeline) > PIPELINED_MAX:
                self._limits.reached("http_pipelined", self._connection.address)
                self.transport.abort()

    def on_message_begin(self) -> None:
        """Note that a head begins."""
        self._in_head = True
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Refuse more than ``HEADERS_MAX`` headers; ignore trailers.

        The parser calls this for trailers too, and a trailer must not pass for a header.
        """
        if not self._in_head:
            return
        if len(self.headers) >= HEADERS_MAX:
            raise TooManyHeadersError
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Note that the head is complete."""
        self._in_head = False
        self._head_bytes = 0
        self._framing_bytes = 0
        self._table.begin_answer(self._connection)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Note that a part of the body arrived."""
        self._framing_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Note that the next bytes are those of another head."""
        self._in_head = True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Note that the answer is complete."""
        super().on_response_complete()
        if self.cycle.response_complete:
            self._table.end_answer(self._connection)
        else:
            self._table.begin_answer(self._connection)

    def send_400_response(self, msg: str) -> None:
        """Count an invalid request and answer it."""
        self._limits.reached("http_invalid", self._connection.address)
        super().send_400_response(msg)

    def _waits_for_head(self, rest: bytes) -> bool:
        """Whether ``rest``, for which there is no room, belongs to a head."""
        return self._in_head and bool(rest) and not self.transport.is_closing()

    def _room_for(self, piece: bytes) -> tuple[bytes, bytes]:
        room = HEAD_BYTES_MAX - self._head_bytes
        self._head_bytes += min(len(piece), room)
        return piece[:room], piece[room:]

    def _check_framing(self) -> None:
        # The parser joins a trailer's parts again for each packet.
        if not self._in_head and self._framing_bytes > FRAMING_BYTES_MAX:
            self._limits.reached("http_framing", self._connection.address)
            self.transport.abort()

    def _refuse_head(self) -> None:
        self._limits.reached("http_head", self._connection.address)
        body = b"the request's head is too large\n"
        self.transport.write(
            b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\n"
            b"Content-Type: text/plain; charset=utf-8\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        self.transport.close()

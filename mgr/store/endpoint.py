"""One endpoint of etcd: its gRPC channel, and single requests over it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import grpc

from mgr.store import etcd3_stubs
from mgr.store.error_classes import unanswered_error
from mgr.tls import Tls

OPTIONS: Final = (
    # A frozen peer is detected by an unanswered ping. ``keepalive_timeout_ms`` alone is not
    # enough: gRPC waits for ``ping_timeout_ms``, by default a minute. Etcd treats pings more often
    # than every 5 s, or without an open stream, as an attack and closes the connection.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 2_000),
    ("grpc.http2.ping_timeout_ms", 2_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.max_receive_message_length", 32 << 20),
    ("grpc.max_send_message_length", 32 << 20),
    # Two stores of one process must not share a connection, or a failure of one is one of both.
    ("grpc.use_local_subchannel_pool", 1),
    # Never connect to etcd through the HTTP proxy that the environment may configure.
    ("grpc.enable_http_proxy", 0),
)

RANGE: Final = etcd3_stubs.method("KV", "Range")
TXN: Final = etcd3_stubs.method("KV", "Txn")

ATTEMPT_S: Final = 0.8
"""How long one endpoint may take for a repeatable request. Doubled every round, so that an etcd
whose members are all slow gets enough time in the end."""

Metadata = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Request:
    """One unary request.

    Attributes:
        method: The method; a stream with one message in each direction counts as unary.
        message: The request message.
        purpose: The purpose, with the key; every error message begins with it.
        repeatable: Whether doing it twice has the same effect as doing it once.
        anonymous: Whether it is sent without a token.
        linearizable: Whether the revision in the answer's header is at least that of every
            transaction committed before the request was sent.
        attempt_s: How long the first attempt may take, if it is repeatable.

    """

    method: etcd3_stubs.Method
    message: Any
    purpose: str
    repeatable: bool = True
    anonymous: bool = False
    linearizable: bool = False
    attempt_s: float = ATTEMPT_S


# An empty transaction. The member answers it without its peers, without permission and without a
# token, and the header of the answer has the cluster's id.
WHICH_CLUSTER: Final = Request(TXN, TXN.request(), "get the cluster id", anonymous=True)


class Endpoint:
    """One etcd address, its channel, and until when it is avoided after a failure."""

    def __init__(self, address: str, tls: Tls | None) -> None:
        self.address = address
        self.bad_until = 0.0
        self.checked = False
        """Whether it has reported the right cluster id since it last failed or was disconnected."""
        self.streams: set[Any] = set()
        self._calls: dict[str, Callable[..., Any]] = {}
        if tls is None:
            self.channel = grpc.aio.insecure_channel(address, options=OPTIONS)
        else:
            credentials = grpc.ssl_channel_credentials(tls.ca, tls.key or None, tls.cert or None)
            self.channel = grpc.aio.secure_channel(address, credentials, options=OPTIONS)

    async def answer(self, request: Request, timeout_s: float, metadata: Metadata) -> Any:
        """Send ``request`` once to this endpoint; raises the errors of gRPC."""
        method = request.method
        call = self._calls.get(method.path)
        if call is None:
            call = self._calls[method.path] = self.channel.unary_unary(
                method.path, method.request.SerializeToString, method.response.FromString
            )
        try:
            return await call(request.message, timeout=timeout_s, metadata=metadata)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # ``close`` cancelled the call, not this task.
            raise unanswered_error(
                request.purpose, "this store was closed", maybe_done=not request.repeatable
            ) from None

    async def connected(self, within_s: float) -> bool:
        """Return whether there is a connection; waits while connecting, not after a failure."""
        state = self.channel.get_state(try_to_connect=True)
        if state is grpc.ChannelConnectivity.READY:
            return True
        # After a reconnect, another server may answer at this address.
        self.checked = False
        try:
            async with asyncio.timeout(within_s):
                while state is not grpc.ChannelConnectivity.READY:
                    if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
                        return False
                    await self.channel.wait_for_state_change(state)
                    state = self.channel.get_state(try_to_connect=True)
        except TimeoutError:
            return False
        return True

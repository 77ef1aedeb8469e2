"""One address of etcd: its channel, and one request to it."""

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
    # A frozen peer is noticed by an unanswered ping. ``keepalive_timeout_ms`` alone does not
    # do it: gRPC waits ``ping_timeout_ms``, by default a minute. Etcd takes pings more often
    # than every 5 s, or without a stream, for an attack and hangs up.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 2_000),
    ("grpc.http2.ping_timeout_ms", 2_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.max_receive_message_length", 32 << 20),
    ("grpc.max_send_message_length", 32 << 20),
    # Two stores of one process must not share a connection, or one's trouble is the other's.
    ("grpc.use_local_subchannel_pool", 1),
    # A proxy for the web is not the way to etcd.
    ("grpc.enable_http_proxy", 0),
)

RANGE: Final = etcd3_stubs.method("KV", "Range")
TXN: Final = etcd3_stubs.method("KV", "Txn")

Metadata = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Request:
    """One unary request.

    Attributes:
        method: What is called; a stream that takes one message and gives one counts as unary.
        message: What is sent.
        purpose: What it is for, with the key: the beginning of every error's text.
        repeatable: Done twice, it means the same as done once.
        anonymous: Sent without a token.
        linearizable: The revision in the answer's header is at or above every one that was
            committed before the request was sent.

    """

    method: etcd3_stubs.Method
    message: Any
    purpose: str
    repeatable: bool = True
    anonymous: bool = False
    linearizable: bool = False


# An empty transaction: answered by the member itself, needs no right and no token, and its header
# names the cluster.
WHICH_CLUSTER: Final = Request(TXN, TXN.request(), "ask for the cluster's id", anonymous=True)


class Endpoint:
    """One etcd address, its channel, and when it may be thought well of again."""

    def __init__(self, address: str, tls: Tls | None) -> None:
        self.address = address
        self.bad_until = 0.0
        self.checked = False
        """Whether it has named the right cluster since it was last bad or without connection."""
        self.streams: set[Any] = set()
        self._calls: dict[str, Callable[..., Any]] = {}
        if tls is None:
            self.channel = grpc.aio.insecure_channel(address, options=OPTIONS)
        else:
            credentials = grpc.ssl_channel_credentials(tls.ca, tls.key or None, tls.cert or None)
            self.channel = grpc.aio.secure_channel(address, credentials, options=OPTIONS)

    async def answer(self, request: Request, timeout_s: float, metadata: Metadata) -> Any:
        """Send ``request`` here, once; raises what gRPC raises."""
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
            # Not this task was cancelled but the call: by ``close``.
            raise unanswered_error(
                request.purpose, "this store was closed", maybe_done=not request.repeatable
            ) from None

    async def connected(self, within_s: float) -> bool:
        """Whether the connection stands; waits while it is being made, not once it failed."""
        state = self.channel.get_state(try_to_connect=True)
        if state is grpc.ChannelConnectivity.READY:
            return True
        # Another server may answer there by now.
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

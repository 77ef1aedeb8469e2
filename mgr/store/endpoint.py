"""One endpoint of etcd: its gRPC channel, and single requests over it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import grpc

from mgr.errors import InvalidSettingError
from mgr.store import etcd3_stubs
from mgr.store.diagnosis import why_not_connected
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
    # By default gRPC resolves a name again after half a minute at the earliest: an etcd whose name
    # has got another address would be away for that long.
    ("grpc.dns_min_time_between_resolutions_ms", 1_000),
    ("grpc.max_receive_message_length", 32 << 20),
    ("grpc.max_send_message_length", 32 << 20),
    # Two stores of one process must not share a connection, or a failure of one is one of both.
    ("grpc.use_local_subchannel_pool", 1),
    # Never connect to etcd through the HTTP proxy that the environment may configure.
    ("grpc.enable_http_proxy", 0),
)

RANGE: Final = etcd3_stubs.method("KV", "Range")
TXN: Final = etcd3_stubs.method("KV", "Txn")

DIAGNOSE_S: Final = 0.5
DIAGNOSE_EVERY_S: Final = 5.0
DIAGNOSIS_AWAITED_S: Final = 0.05
"""A refused connection or a wrong certificate is found within this, so the first error names it."""
ATTEMPT_S: Final = 0.8
"""How long one endpoint may take for a repeatable request. Doubled every round, so that an etcd
whose members are all slow gets enough time in the end."""

Metadata = tuple[tuple[str, str], ...]

log = logging.getLogger(__name__)


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
        self.trouble = ""
        """Why there was no connection, in words for an operator; empty if that is not known."""
        self._calls: dict[str, Callable[..., Any]] = {}
        self._tls = tls
        self._file_trouble = ""
        self._diagnose_at = 0.0
        self._diagnosis: asyncio.Task[None] | None = None
        self._retired: grpc.aio.Channel | None = None
        self.channel = _open(address, tls)

    async def close(self) -> None:
        """Close the connection, which ends all calls."""
        if self._diagnosis is not None:
            self._diagnosis.cancel()
        await self.channel.close()
        if self._retired is not None:
            await self._retired.close()

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
            self.trouble = ""
            return True
        # After a reconnect, another server may answer at this address.
        self.checked = False
        await self._use_renewed_files()
        state = self.channel.get_state(try_to_connect=True)
        try:
            async with asyncio.timeout(within_s):
                while state is not grpc.ChannelConnectivity.READY:
                    if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
                        break
                    await self.channel.wait_for_state_change(state)
                    state = self.channel.get_state(try_to_connect=True)
        except TimeoutError:
            return False
        if state is not grpc.ChannelConnectivity.READY:
            await self._start_diagnosis()
            return False
        self.trouble = ""
        return True

    async def _start_diagnosis(self) -> None:
        """Find out why there is no connection, now and then; wait for the result only briefly.

        A request must not wait for it: its time is for the next attempt, or the next endpoint.
        """
        loop = asyncio.get_running_loop()
        if loop.time() < self._diagnose_at:
            return
        self._diagnose_at = loop.time() + DIAGNOSE_EVERY_S
        self._diagnosis = loop.create_task(self._diagnose(), name=f"diagnose {self.address}")
        await asyncio.wait({self._diagnosis}, timeout=DIAGNOSIS_AWAITED_S)

    async def _diagnose(self) -> None:
        before = self.trouble
        self.trouble = await why_not_connected(self.address, self._tls, DIAGNOSE_S)
        if self.trouble and self.trouble != before:
            fields = {"address": self.address, "why": self.trouble}
            log.warning("no connection to etcd endpoint", extra=fields)

    async def _use_renewed_files(self) -> None:
        """Open a new channel if the certificate files were changed since the last one."""
        if self._tls is None:
            return
        try:
            # In a thread: a network file system may take seconds.
            tls = await asyncio.to_thread(self._tls.read_again, purpose="TLS to etcd")
        except InvalidSettingError as error:
            if self._file_trouble != str(error):
                self._file_trouble = str(error)
                log.warning("certificate files for etcd not usable", extra={"why": str(error)})
            return
        self._file_trouble = ""
        if tls == self._tls:
            return
        log.info("certificate files for etcd read again", extra={"address": self.address})
        self._tls = tls
        if self._retired is not None:
            await self._retired.close()
        # Closed later: another task may still have a call on it.
        self._retired, self.channel = self.channel, _open(self.address, tls)
        self._calls.clear()


def _open(address: str, tls: Tls | None) -> grpc.aio.Channel:
    if tls is None:
        return grpc.aio.insecure_channel(address, options=OPTIONS)
    credentials = grpc.ssl_channel_credentials(tls.ca or None, tls.key or None, tls.cert or None)
    return grpc.aio.secure_channel(address, credentials, options=OPTIONS)

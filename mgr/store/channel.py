"""Requests to etcd over several endpoints: one real channel each, one of them in use.

Theory of operation
-------------------
All requests go to the *current* endpoint, until it fails: spreading them would make every third
one wait for a frozen member. A failed endpoint is bad for ``BAD_FOR_S``; its open streams are
cancelled, since a stream to a frozen peer says nothing of its own; the next good one becomes
current. If all are bad they are tried anyway, the one that has been bad longest first, so
nothing is ever locked out.

What may be repeated (reads, and writes that mean the same when done twice) is given to an
endpoint for ``ATTEMPT_S`` only, and then to the next. What may not is sent once: it moves on
only while it is certain that nothing was sent or done, and is otherwise reported as unclear.
"Certain" needs the connection to stand *before* the request is handed to gRPC, which would
otherwise queue it and, after a failure, not tell whether it had been sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import grpc

from mgr.errors import InvalidSettingError, StoreError
from mgr.store import etcd3_stubs
from mgr.store.refusal import Verdict, refused, unanswered, verdict
from mgr.tls import Tls

ATTEMPT_S: Final = 0.8
"""How long one endpoint may think about what can be asked elsewhere. Doubled every round, so
that an etcd that is slow everywhere is heard in the end."""
CONNECT_S: Final = 0.5
BAD_FOR_S: Final = 2.0
BLAME_FROM_S: Final = 0.2
"""An endpoint that was given less time than this is not bad for having used it up."""
ROUND_PAUSE_S: Final = 0.05
"""After every endpoint has failed; doubled each round up to ``ROUND_PAUSE_MAX_S``."""
ROUND_PAUSE_MAX_S: Final = 0.4
LOGINS_MAX: Final = 2
"""New tokens for one request. Each costs etcd a password hash and a write."""

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
REQUIRE_LEADER: Final = ("hasleader", "true")
"""Metadata: a member that has lost its leader refuses at once, and ends its streams."""

AUTHENTICATE: Final = etcd3_stubs.method("Auth", "Authenticate")

Metadata = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class EtcdLogin:
    """A user of etcd's own authentication."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Request:
    """One unary request.

    Attributes:
        method: What is called; a stream that takes one message and gives one counts as unary.
        message: What is sent.
        deed: What it is for, with the key: the beginning of every error's text.
        repeatable: Done twice, it means the same as done once.
        anonymous: Sent without a token.

    """

    method: etcd3_stubs.Method
    message: Any
    deed: str
    repeatable: bool = True
    anonymous: bool = False


class Endpoint:
    """One etcd address, its channel, and when it may be thought well of again."""

    def __init__(self, address: str, tls: Tls | None) -> None:
        self.address = address
        self.bad_until = 0.0
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
            raise unanswered(
                request.deed, "this store was closed", maybe_done=not request.repeatable
            ) from None

    async def connected(self, within_s: float) -> bool:
        """Whether the connection stands; waits while it is being made, not once it failed."""
        state = self.channel.get_state(try_to_connect=True)
        if state is grpc.ChannelConnectivity.READY:
            return True
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


class FailoverChannel:
    """See the module's docstring. Make it on the event loop that uses it."""

    def __init__(
        self, addresses: Sequence[str], *, tls: Tls | None, login: EtcdLogin | None
    ) -> None:
        """Open channels to ``addresses`` (``host:port``); nothing is sent yet.

        Raises:
            InvalidSettingError: There is no address.

        """
        if not addresses:
            raise InvalidSettingError("etcd: name at least one address")
        self._endpoints = [Endpoint(_bare(address), tls) for address in addresses]
        self._current = self._endpoints[0]
        self._login = login
        self._token: str | None = None
        self._login_lock = asyncio.Lock()
        self.closed = False

    async def ask(self, request: Request, *, timeout_s: float) -> Any:
        """Return the answer to ``request``.

        Raises:
            StoreUnavailableError: No answer within ``timeout_s``, and nothing was done.
            OutcomeUnknownError: No answer, not ``repeatable``, and it may have been done.
            StoreError: Etcd refused; the class says what to do.
            InvalidArgumentError: Etcd refused the request itself.

        """
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + timeout_s
        attempts = logins = 0
        trouble = f"no answer within {timeout_s:g} s"
        while (left_s := ends_at - loop.time()) > 0:
            if self.closed:
                raise unanswered(request.deed, "this store was closed", maybe_done=False)
            endpoint = self._choose(loop.time())
            if not await endpoint.connected(min(left_s, CONNECT_S)):
                trouble = f"cannot connect to {endpoint.address}"
                self.blame(endpoint)
                attempts = await self._next_attempt(attempts, ends_at)
                continue
            metadata = await self._metadata(request, ends_at)
            left_s = ends_at - loop.time()
            patience_s = min(left_s, self._patience_s(attempts)) if request.repeatable else left_s
            try:
                return await endpoint.answer(request, patience_s, metadata)
            except grpc.aio.AioRpcError as error:
                judged = verdict(error.code(), error.details() or "")
                trouble = f"{error.details()} (etcd at {endpoint.address})"
                if judged is Verdict.LOGIN and self._login and logins < LOGINS_MAX:
                    logins += 1
                    self.forget_token(metadata)
                    continue
                if judged in (Verdict.LOGIN, Verdict.FINAL):
                    raise refused(request.deed, error.code(), trouble) from error
                self._blame_for(endpoint, error, patience_s)
                if judged is Verdict.UNCLEAR and not request.repeatable:
                    raise unanswered(request.deed, trouble, maybe_done=True) from error
            attempts = await self._next_attempt(attempts, ends_at)
        raise unanswered(request.deed, trouble, maybe_done=False)

    async def stream(
        self,
        method: etcd3_stubs.Method,
        requests: AsyncIterator[Any],
        *,
        deed: str,
        timeout_s: float,
    ) -> Stream:
        """Open a stream on the current endpoint; it is cancelled when that turns out bad.

        Raises:
            StoreUnavailableError: No endpoint can be connected to within ``timeout_s``.

        """
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + timeout_s
        attempts = 0
        while (left_s := ends_at - loop.time()) > 0:
            endpoint = self._choose(loop.time())
            if await endpoint.connected(min(left_s, CONNECT_S)):
                metadata = await self._metadata(Request(method, None, deed), ends_at)
                call = endpoint.channel.stream_stream(
                    method.path, method.request.SerializeToString, method.response.FromString
                )(requests, metadata=metadata)
                endpoint.streams.add(call)
                return Stream(self, endpoint, call, metadata)
            self.blame(endpoint)
            attempts = await self._next_attempt(attempts, ends_at)
        raise unanswered(deed, f"no endpoint reached within {timeout_s:g} s", maybe_done=False)

    def blame(self, endpoint: Endpoint) -> None:
        """Use another endpoint for a while, if there is one; cancel the streams of this one."""
        endpoint.bad_until = asyncio.get_running_loop().time() + BAD_FOR_S
        for call in tuple(endpoint.streams):
            call.cancel()

    def forget_token(self, metadata: Metadata) -> None:
        """Log in anew before the next request, unless somebody did since ``metadata`` was made."""
        if self._token is not None and ("token", self._token) in metadata:
            self._token = None

    async def close(self) -> None:
        """End every call and connection."""
        self.closed = True
        for endpoint in self._endpoints:
            await endpoint.channel.close()

    # -- inside ---------------------------------------------------------------------------------

    def _choose(self, now: float) -> Endpoint:
        """Return the current endpoint, or, if it is bad, make the next good one current."""
        if self._current.bad_until > now:
            at = self._endpoints.index(self._current)
            others = self._endpoints[at + 1 :] + self._endpoints[: at + 1]
            # ``min`` keeps the order among the good ones: those have 0, or a time gone by.
            self._current = min(others, key=lambda endpoint: max(endpoint.bad_until, now))
        return self._current

    def _patience_s(self, attempts: int) -> float:
        return ATTEMPT_S * 2.0 ** (attempts // len(self._endpoints))

    def _blame_for(
        self, endpoint: Endpoint, error: grpc.aio.AioRpcError, patience_s: float
    ) -> None:
        hasty = error.code() is grpc.StatusCode.DEADLINE_EXCEEDED and patience_s < BLAME_FROM_S
        if not hasty:
            self.blame(endpoint)

    async def _next_attempt(self, attempts: int, ends_at: float) -> int:
        """Count a failed attempt; pause when every endpoint has had its turn."""
        attempts += 1
        rounds, rest = divmod(attempts, len(self._endpoints))
        if rest == 0:
            pause_s = min(ROUND_PAUSE_S * 2.0 ** (rounds - 1), ROUND_PAUSE_MAX_S)
            left_s = ends_at - asyncio.get_running_loop().time()
            await asyncio.sleep(max(0.0, min(pause_s, left_s)))
        return attempts

    async def _metadata(self, request: Request, ends_at: float) -> Metadata:
        """Return what goes with each request; logs in first where that is needed."""
        if self._login is None or request.anonymous:
            return (REQUIRE_LEADER,)
        if self._token is None:
            try:
                async with asyncio.timeout_at(ends_at):
                    await self._login_lock.acquire()
            except TimeoutError:
                # Whoever logs in may have more time than this request.
                raise unanswered(
                    request.deed, "still waiting for another one's log in", maybe_done=False
                ) from None
            try:
                if self._token is None:
                    self._token = await self._authenticate(self._login, request.deed, ends_at)
            finally:
                self._login_lock.release()
        # As metadata, and not as call credentials: gRPC sends those over TLS only.
        return (REQUIRE_LEADER, ("token", self._token)) if self._token else (REQUIRE_LEADER,)

    async def _authenticate(self, login: EtcdLogin, deed: str, ends_at: float) -> str:
        """Return a token; an empty one if etcd asks nobody who he is."""
        message = AUTHENTICATE.request(name=login.user, password=login.password)
        request = Request(
            AUTHENTICATE, message, f"{deed}: log in as {login.user!r}", anonymous=True
        )
        left_s = ends_at - asyncio.get_running_loop().time()
        try:
            answer = await self.ask(request, timeout_s=left_s)
        except StoreError as error:
            if "authentication is not enabled" in str(error):
                return ""
            raise
        return str(answer.token)


class Stream:
    """One open stream, bound to the endpoint it was opened on."""

    def __init__(
        self, channel: FailoverChannel, endpoint: Endpoint, call: Any, metadata: Metadata
    ) -> None:
        self.address = endpoint.address
        self._channel = channel
        self._endpoint = endpoint
        self._call = call
        self._metadata = metadata

    async def read(self) -> Any:
        """Return the next message; ``grpc.aio.EOF`` at the end."""
        return await self._call.read()

    def cancel(self) -> None:
        """End it, here or from a timer: a waiting ``read`` raises ``CancelledError``."""
        self._call.cancel()

    def close(self) -> None:
        """End it and forget it."""
        self._endpoint.streams.discard(self._call)
        self._call.cancel()

    def blame(self) -> None:
        """The endpoint was silent: use another one."""
        self._channel.blame(self._endpoint)

    def forget_token(self) -> None:
        """The token it was opened with is not good any more."""
        self._channel.forget_token(self._metadata)


def _bare(address: str) -> str:
    """Return ``address`` without the scheme that etcd's own tools write before it."""
    return address.removeprefix("https://").removeprefix("http://").rstrip("/")

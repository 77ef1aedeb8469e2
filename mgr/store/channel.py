"""Sends requests to etcd over several endpoints, of which one is in use at a time.

Theory of operation
-------------------
All requests go to the *current* endpoint until it fails: if they were spread over three members,
every third request would wait for a frozen one. A failed endpoint counts as bad for ``BAD_FOR_S``.
Its open streams are cancelled, since a stream to a frozen peer does not end by itself, and the next
good endpoint becomes current. If all are bad they are tried anyway, beginning with the one that has
been bad longest, so no endpoint is excluded for good.

A repeatable request (a read, or a write that may be done twice) gets ``ATTEMPT_S`` at one endpoint
and then goes to the next. Any other request is sent once: it goes to another endpoint only if it is
certain that it was not sent or not done, and is otherwise reported as of unknown outcome. To be
certain, the connection must exist *before* the request is given to gRPC: without one, gRPC queues
the request and, after a failure, does not report whether it was sent.

An endpoint must report its cluster id before it is used, and the id in every answer is checked too
(``mgr/store/identity.py``), because another server may answer at that address later. A refusal has
no header, so the id is requested after one as well. An endpoint of another cluster is bad, and its
answer is discarded: nothing was done in *our* cluster, so even a write may be sent elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import grpc

from mgr.clock import CLOCK
from mgr.errors import InvalidSettingError, StoreError
from mgr.store import etcd3_stubs
from mgr.store.endpoint import ATTEMPT_S, RANGE, WHICH_CLUSTER, Endpoint, Metadata, Request
from mgr.store.error_classes import ErrorClass, classify, refusal_error, unanswered_error
from mgr.store.identity import StoreIdentity
from mgr.store.login import LOGIN_S, EtcdLogin, LoginSession
from mgr.tls import Tls

LOGIN_ATTEMPT_S: Final = 5.0
"""How long one endpoint may take for a login. Etcd hashes the password, which can be slow."""
CONNECT_S: Final = 0.5
BAD_FOR_S: Final = 2.0
FOREIGN_FOR_MAX_S: Final = 60.0
"""An endpoint of another cluster is bad for ``BAD_FOR_S``, doubled each time up to this."""
FIRST_CONTACT_S: Final = 0.5
"""How long the endpoints may take to report their cluster id while none is expected yet."""
MARK_FAILED_FROM_S: Final = 0.2
"""An endpoint that had less time than this is not marked bad when the time is over."""
ROUND_PAUSE_S: Final = 0.05
"""Pause after every endpoint has failed; doubled each round up to ``ROUND_PAUSE_MAX_S``."""
ROUND_PAUSE_MAX_S: Final = 0.4
LOGINS_MAX: Final = 2
"""Most logins for one request. Each costs etcd a password hash and a write."""

REQUIRE_LEADER: Final = ("hasleader", "true")
"""Metadata by which a member without a leader refuses at once and ends its streams."""

AUTHENTICATE: Final = etcd3_stubs.method("Auth", "Authenticate")


class _NotUsableError(Exception):
    """The endpoint gave no valid answer; nothing was done in our cluster."""


@dataclass(frozen=True, slots=True)
class EndpointAnswer:
    """The answer of one endpoint, None with ``error`` if there was none, and how long it took.

    ``denied``: it answered that this user may not ask.
    """

    address: str
    answer: Any
    seconds: float
    error: str = ""
    denied: bool = False


class FailoverChannel:
    """Sends requests, with failover; see the module's docstring. Create it on its event loop."""

    def __init__(
        self,
        addresses: Sequence[str],
        *,
        tls: Tls | None,
        login: EtcdLogin | None,
        identity: StoreIdentity,
    ) -> None:
        """Open channels to ``addresses`` (``host:port``); nothing is sent yet.

        Answers must agree with ``identity``.

        Raises:
            InvalidSettingError: There is no address.

        """
        if not addresses:
            raise InvalidSettingError("etcd: name at least one address")
        self._endpoints = [Endpoint(_without_scheme(address), tls) for address in addresses]
        self._current = self._endpoints[0]
        self._login = LoginSession(login, self._authenticate, CLOCK) if login else None
        self._first_contact = asyncio.Lock()
        message = RANGE.request(key=identity.probe_key.encode(), count_only=True)
        self._probe = Request(RANGE, message, "read etcd's revision", linearizable=True)
        self.identity = identity
        self.closed = False

    async def ask(self, request: Request, *, timeout_s: float) -> Any:
        """Return the answer to ``request``.

        Raises:
            StoreUnavailableError: No answer within ``timeout_s``, and nothing was done.
            OutcomeUnknownError: No answer; it is not ``repeatable`` and may have been done.
            StoreError: Etcd refused; the subclass gives the reason.
            InvalidArgumentError: Etcd refused the request itself.

        """
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + timeout_s
        attempts = logins = 0
        trouble = f"no answer within {timeout_s:g} s"
        while (left_s := ends_at - loop.time()) > 0:
            if self.closed:
                raise unanswered_error(request.purpose, "this store was closed", maybe_done=False)
            try:
                endpoint = await self._usable_endpoint(request, attempts, ends_at)
                metadata = await self._metadata(request, ends_at)
                left_s = ends_at - loop.time()
                attempt_s = min(left_s, self._attempt_limit_s(attempts, request.attempt_s))
                attempt_s = attempt_s if request.repeatable else left_s
                return await self._answer(endpoint, request, attempt_s, metadata)
            except _NotUsableError as error:
                trouble = str(error)
            except grpc.aio.AioRpcError as error:
                error_class = classify(error.code(), error.details() or "")
                trouble = f"{error.details()} (etcd at {endpoint.address})"
                if error_class is ErrorClass.LOGIN and self._login and logins < LOGINS_MAX:
                    logins += 1
                    self.forget_token(metadata)
                    continue
                if error_class in (ErrorClass.LOGIN, ErrorClass.FINAL):
                    raise refusal_error(request.purpose, error.code(), trouble) from error
                self._mark_failed_after(endpoint, error, attempt_s)
                if error_class is ErrorClass.UNCLEAR and not request.repeatable:
                    raise unanswered_error(request.purpose, trouble, maybe_done=True) from error
            attempts = await self._next_attempt(attempts, ends_at)
        self.identity.unanswered()
        trouble = self.identity.trouble or trouble
        raise unanswered_error(request.purpose, trouble, maybe_done=False)

    async def stream(
        self,
        method: etcd3_stubs.Method,
        requests: AsyncIterator[Any],
        *,
        purpose: str,
        timeout_s: float,
    ) -> Stream:
        """Open a stream on the current endpoint; it is cancelled when that endpoint fails.

        Raises:
            StoreUnavailableError: No endpoint could be reached within ``timeout_s``.

        """
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + timeout_s
        attempts = 0
        request = Request(method, None, purpose)
        trouble = f"no endpoint reached within {timeout_s:g} s"
        while ends_at > loop.time():
            try:
                endpoint = await self._usable_endpoint(request, attempts, ends_at)
            except _NotUsableError as error:
                trouble = str(error)
                attempts = await self._next_attempt(attempts, ends_at)
                continue
            metadata = await self._metadata(request, ends_at)
            call = endpoint.channel.stream_stream(
                method.path, method.request.SerializeToString, method.response.FromString
            )(requests, metadata=metadata)
            endpoint.streams.add(call)
            return Stream(self, endpoint, call, metadata)
        raise unanswered_error(purpose, trouble, maybe_done=False)

    async def check_endpoints(self, *, timeout_s: float) -> dict[str, bool]:
        """Request the cluster id of every endpoint that is not bad, and check it.

        So an endpoint of another cluster is found before the others fail and it is needed. Returns
        for each address that was asked whether it answered.
        """
        if not self.identity.cluster_id:
            return {}
        now = asyncio.get_running_loop().time()
        asked = [endpoint for endpoint in self._endpoints if endpoint.bad_until <= now]
        found, _ = await self._ask_all(asked, timeout_s)
        for endpoint, answer in found.items():
            self.check_foreign(endpoint, answer)
        return {endpoint.address: endpoint in found for endpoint in asked}

    async def ask_each(self, request: Request, *, timeout_s: float) -> list[EndpointAnswer]:
        """Send ``request`` to every endpoint once; an error of one is its own."""
        loop = asyncio.get_running_loop()
        metadata = await self._metadata(request, loop.time() + timeout_s)

        async def ask_one(endpoint: Endpoint) -> EndpointAnswer:
            # Not the loop's clock: that of uvloop has whole milliseconds.
            began = CLOCK.now()
            try:
                if not await endpoint.connected(timeout_s):
                    return EndpointAnswer(endpoint.address, None, 0.0, _no_connection(endpoint))
                began = CLOCK.now()
                answer = await endpoint.answer(request, timeout_s, metadata)
            except grpc.aio.AioRpcError as error:
                denied = error.code() is grpc.StatusCode.PERMISSION_DENIED
                took_s = CLOCK.now() - began
                return EndpointAnswer(
                    endpoint.address, None, took_s, str(error.details()), denied=denied
                )
            except StoreError as error:
                return EndpointAnswer(endpoint.address, None, 0.0, str(error))
            return EndpointAnswer(endpoint.address, answer, CLOCK.now() - began)

        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(ask_one(endpoint)) for endpoint in self._endpoints]
        return [task.result() for task in asked]

    def mark_failed(self, endpoint: Endpoint) -> None:
        """Prefer other endpoints for a while, and cancel the streams of this one."""
        self._avoid(endpoint, BAD_FOR_S)

    def check_foreign(self, endpoint: Endpoint, answer: Any) -> str:
        """Return an error text if ``answer`` came from another cluster; empty if from ours.

        A foreign answer must not be used; its endpoint is avoided from now on.
        """
        cluster_id = int(answer.header.cluster_id)
        if self.identity.matches(endpoint.address, cluster_id):
            endpoint.checked = True
            return ""
        again = self.identity.times_foreign(endpoint.address) - 1
        self._avoid(endpoint, min(BAD_FOR_S * 2.0 ** min(again, 10), FOREIGN_FOR_MAX_S))
        return f"etcd at {endpoint.address} belongs to another cluster, {cluster_id:x}"

    def forget_token(self, metadata: Metadata) -> None:
        """Log in before the next request, unless that was done since ``metadata`` was made."""
        if self._login is not None:
            self._login.forget(dict(metadata).get("token", ""))

    async def close(self) -> None:
        """Close every connection, which ends all calls."""
        self.closed = True
        if self._login is not None:
            self._login.close()
        for endpoint in self._endpoints:
            await endpoint.close()

    # -- inside ---------------------------------------------------------------------------------

    async def _usable_endpoint(self, request: Request, attempts: int, ends_at: float) -> Endpoint:
        """Return an endpoint that is connected and of our cluster, for one attempt.

        Raises:
            _NotUsableError: The endpoint chosen for this attempt is not usable.
            StoreUnavailableError: Etcd went back in time, or endpoints differ in cluster.

        """
        loop = asyncio.get_running_loop()
        if not self.identity.cluster_id:
            await self._choose_cluster(request, ends_at)
        if not (self.identity.confirmed or request.anonymous or request.method is RANGE):
            # A linearizable read shows etcd's present revision. Until it is checked, etcd may have
            # been restored from a backup, and nothing may be written to it.
            await self.ask(self._probe, timeout_s=max(ends_at - loop.time(), 0.0))
        endpoint = self._choose(loop.time())
        left_s = ends_at - loop.time()
        if not await endpoint.connected(min(left_s, CONNECT_S)):
            self.mark_failed(endpoint)
            raise _NotUsableError(_no_connection(endpoint))
        if not endpoint.checked:
            left_s = ends_at - loop.time()
            await self._check_cluster(endpoint, min(left_s, self._attempt_limit_s(attempts)))
        return endpoint

    async def _check_cluster(self, endpoint: Endpoint, attempt_s: float) -> None:
        """Request the cluster id of ``endpoint``; raises ``_NotUsableError`` if it is not ours."""
        try:
            answer = await endpoint.answer(WHICH_CLUSTER, attempt_s, ())
        except grpc.aio.AioRpcError as error:
            self._mark_failed_after(endpoint, error, attempt_s)
            raise _NotUsableError(f"{error.details()} (etcd at {endpoint.address})") from error
        if trouble := self.check_foreign(endpoint, answer):
            raise _NotUsableError(trouble)

    async def _answer(
        self, endpoint: Endpoint, request: Request, attempt_s: float, metadata: Metadata
    ) -> Any:
        """Return the endpoint's answer; raise if it is of another cluster or went back in time."""
        since = self.identity.newest_revision
        try:
            answer = await endpoint.answer(request, attempt_s, metadata)
        except grpc.aio.AioRpcError as error:
            if classify(error.code(), error.details() or "") in (
                ErrorClass.LOGIN,
                ErrorClass.FINAL,
            ):
                # Another cluster refuses because it has none of our leases and users, and the
                # refusal has no header with its id.
                await self._check_cluster(endpoint, attempt_s)
            raise
        if trouble := self.check_foreign(endpoint, answer):
            raise _NotUsableError(trouble)
        if request.linearizable and not self.identity.advance(answer.header.revision, since):
            raise unanswered_error(
                request.purpose, self.identity.trouble, maybe_done=not request.repeatable
            )
        return answer

    async def _choose_cluster(self, request: Request, ends_at: float) -> None:
        """Choose the expected cluster at the first contact with the endpoints."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(ends_at):
                await self._first_contact.acquire()
        except TimeoutError:
            raise unanswered_error(request.purpose, "no first contact", maybe_done=False) from None
        try:
            if self.identity.cluster_id:
                return
            found, trouble = await self._ask_all(
                self._endpoints,
                min(FIRST_CONTACT_S, (ends_at - loop.time()) / 2),
                enough=len(self._endpoints) // 2 + 1,
            )
            if not found:
                raise _NotUsableError(trouble)
            if not self.identity.choose_cluster(
                {e.address: a.header.cluster_id for e, a in found.items()}
            ):
                raise unanswered_error(request.purpose, self.identity.trouble, maybe_done=False)
            for endpoint, answer in found.items():
                self.check_foreign(endpoint, answer)
        finally:
            self._first_contact.release()

    async def _ask_all(
        self, asked: Sequence[Endpoint], limit_s: float, *, enough: int = sys.maxsize
    ) -> tuple[dict[Endpoint, Any], str]:
        """Request the cluster id of all ``asked`` endpoints, until ``enough`` name the same one.

        Returns the answers, and the error of an endpoint that gave none.
        """
        found: dict[Endpoint, Any] = {}
        troubles = [f"no endpoint answers within {limit_s:.1g} s"]

        async def ask_one(endpoint: Endpoint) -> None:
            if not await endpoint.connected(limit_s):
                troubles.append(_no_connection(endpoint))
                return
            try:
                answer = found[endpoint] = await endpoint.answer(WHICH_CLUSTER, limit_s, ())
            except (grpc.aio.AioRpcError, StoreError) as error:
                troubles.append(f"{error} (etcd at {endpoint.address})")
                return
            same = [a for a in found.values() if a.header.cluster_id == answer.header.cluster_id]
            if len(same) >= enough:
                for task in tasks:
                    task.cancel()

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s + MARK_FAILED_FROM_S), asyncio.TaskGroup() as group:
                tasks = [group.create_task(ask_one(endpoint)) for endpoint in asked]
        return found, troubles[-1]

    def _avoid(self, endpoint: Endpoint, for_s: float) -> None:
        endpoint.bad_until = asyncio.get_running_loop().time() + for_s
        endpoint.checked = False
        for call in tuple(endpoint.streams):
            call.cancel()

    def _choose(self, now: float) -> Endpoint:
        """Return the current endpoint, or, if it is bad, make the next good one current."""
        if self._current.bad_until > now:
            at = self._endpoints.index(self._current)
            others = self._endpoints[at + 1 :] + self._endpoints[: at + 1]
            # All good endpoints have the same key, ``now``, and ``min`` takes the first of them.
            self._current = min(others, key=lambda endpoint: max(endpoint.bad_until, now))
        return self._current

    def _attempt_limit_s(self, attempts: int, first_s: float = ATTEMPT_S) -> float:
        return first_s * 2.0 ** (attempts // len(self._endpoints))

    def _mark_failed_after(
        self, endpoint: Endpoint, error: grpc.aio.AioRpcError, attempt_s: float
    ) -> None:
        hasty = error.code() is grpc.StatusCode.DEADLINE_EXCEEDED and attempt_s < MARK_FAILED_FROM_S
        if not hasty:
            self.mark_failed(endpoint)

    async def _next_attempt(self, attempts: int, ends_at: float) -> int:
        """Count a failed attempt; pause after every endpoint has been tried."""
        attempts += 1
        rounds, rest = divmod(attempts, len(self._endpoints))
        if rest == 0:
            pause_s = min(ROUND_PAUSE_S * 2.0 ** (rounds - 1), ROUND_PAUSE_MAX_S)
            left_s = ends_at - asyncio.get_running_loop().time()
            await asyncio.sleep(max(0.0, min(pause_s, left_s)))
        return attempts

    async def _metadata(self, request: Request, ends_at: float) -> Metadata:
        """Return the metadata of a request; logs in first if that is needed."""
        if self._login is None or request.anonymous:
            return (REQUIRE_LEADER,)
        token = await self._login.get(request.purpose, ends_at)
        # The token is metadata, not call credentials, because gRPC sends those only over TLS.
        return (REQUIRE_LEADER, ("token", token)) if token else (REQUIRE_LEADER,)

    async def _authenticate(self, user: str, password: str) -> str:
        """Log in and return a token; an empty one if authentication is off in etcd."""
        # A member that is frozen or cut off is found by this, and not by a login, which may take
        # long at a member that works.
        await self.ask(WHICH_CLUSTER, timeout_s=LOGIN_S)
        message = AUTHENTICATE.request(name=user, password=password)
        request = Request(
            AUTHENTICATE, message, f"log in as {user!r}", anonymous=True, attempt_s=LOGIN_ATTEMPT_S
        )
        try:
            answer = await self.ask(request, timeout_s=LOGIN_S)
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
        """Return the next message; ``grpc.aio.EOF`` at the end.

        Raises:
            StoreUnavailableError: It came from another cluster.

        """
        answer = await self._call.read()
        if answer is not grpc.aio.EOF and (
            trouble := self._channel.check_foreign(self._endpoint, answer)
        ):
            raise unanswered_error("read a stream", trouble, maybe_done=False)
        return answer

    def note_revision(self, revision: int) -> None:
        """Record the revision of an event, which is certainly committed."""
        self._channel.identity.note_revision(revision)

    def cancel(self) -> None:
        """Cancel the stream, from here or a timer; a waiting ``read`` raises ``CancelledError``."""
        self._call.cancel()

    def close(self) -> None:
        """Cancel the stream and remove it from its endpoint."""
        self._endpoint.streams.discard(self._call)
        self._call.cancel()

    def mark_failed(self) -> None:
        """Mark the stream's endpoint as failed, so that another one is used."""
        self._channel.mark_failed(self._endpoint)

    def forget_token(self) -> None:
        """Discard the token that the stream was opened with, because etcd rejected it."""
        self._channel.forget_token(self._metadata)


def _no_connection(endpoint: Endpoint) -> str:
    return f"cannot connect to {endpoint.address}: {endpoint.trouble}".removesuffix(": ")


def _without_scheme(address: str) -> str:
    """Return ``address`` without the ``http(s)://`` that etcd's own tools write before it."""
    return address.removeprefix("https://").removeprefix("http://").rstrip("/")

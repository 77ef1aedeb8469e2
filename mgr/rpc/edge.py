"""Converts every error of a servicer to a gRPC status, and applies limits. It is the only place.

A handler is wrapped once. gRPC's interceptors are asked for each call, in a coroutine more.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NoReturn, TypeVar

import grpc
from google.protobuf.message import DecodeError

from mgr.access.identity import Caller
from mgr.clock import CLOCK
from mgr.errors import InternalError, InvalidArgumentError, MgrError
from mgr.log_throttle import LogThrottle
from mgr.rpc.arriving import ArrivingRequests
from mgr.rpc.authorization import Authorizer, access_request, address_of
from mgr.rpc.gated import GateEnforcer
from mgr.rpc.limits import (
    OURS,
    REPORT,
    StreamLimits,
    allow_metadata,
    bytes_max,
    too_large_error,
    too_many_error,
)
from mgr.rpc.preflight import CHECKS, SMALL_BYTES, TooManyFieldsError
from mgr.rpc.status import code_of, status_of, trailers_of
from mgr.rpc.unread import UnreadAnswers, counted

Context = grpc.aio.ServicerContext[Any, Any]
Behaviour = Callable[[Any, Context], Awaitable[Any]]
Check = Callable[[Any, Context], None]
H = TypeVar("H")

HEALTH: Final = "/grpc.health.v1."

log = logging.getLogger(__name__)
_throttle: Final = LogThrottle(CLOCK.now)


@dataclass(frozen=True, slots=True)
class MalformedMessage:
    """Stands for a message that was not decoded; ``error`` has the reason (too large, ...)."""

    error: MgrError


class Edge:
    """Converts ``MgrError`` to its status, and any other exception to INTERNAL and a log line."""

    def __init__(
        self,
        authorizer: Authorizer,
        enforcer: GateEnforcer,
        streams: StreamLimits,
        unread: UnreadAnswers,
        arriving: ArrivingRequests,
    ) -> None:
        """Pass calls that ``authorizer`` allows; ``enforcer`` applies the gate to them.

        Streams end with their client's right to have them; ``streams`` limits how many are open,
        ``unread`` how much of what was sent may be unread; ``arriving`` reads single requests.
        """
        self._arriving = arriving
        self._unread = unread
        self._authorizer = authorizer
        self._stream_limits = streams
        self._enforcer = enforcer
        self._wrapped: dict[str, Any] = {}

        async def refuse_metadata(_requests: Any, context: Context) -> NoReturn:
            await refuse(context, streams.refuse_metadata(authorizer.sender_of(context)))

        self._refuse_metadata: Any = grpc.stream_unary_rpc_method_handler(refuse_metadata)

    def handler(self, details: Any, inner: grpc.GenericRpcHandler) -> Any:
        """Return the handler of a call, made from that of ``inner``; None if that serves it not.

        The services of health and reflection are open to everybody.
        """
        method: str = details.method
        if (made := self._wrapped.get(method)) is None:
            handler = inner.service(details)
            if handler is None:
                return None
            wrap = self._wrap if method.startswith(OURS) else self._wrap_open
            made = self._wrapped[method] = wrap(handler, method)
        # Before anything else reads it: gRPC makes it again each time, of what may be 16 MiB.
        return made if allow_metadata(details.invocation_metadata) else self._refuse_metadata

    def _wrap(self, handler: Any, method: str) -> Any:
        kind = _kind(handler)
        behaviour = self._enforcer.behaviour(
            method, getattr(handler, kind), reads=handler.request_streaming
        )
        if kind == "unary_unary":
            behaviour = self._unary(behaviour)
        else:
            behaviour = self._stream(behaviour, method, pushes=not handler.request_streaming)
        check = partial(self._authorizer.check, method)
        return self._served(handler, _edge(behaviour, check, method), method)

    def _served(self, handler: Any, behaviour: Behaviour, method: str) -> Any:
        """Return ``handler`` with another ``behaviour``, which gets its single request from here.

        To gRPC every call streams its requests. It would wait for a single one without a limit.
        """
        served = behaviour
        if not handler.request_streaming:

            async def served(_requests: Any, context: Context) -> Any:
                # Kept in no variable of this frame: see ``_edge``.
                return await behaviour(await self._read(context), context)

        maker = (
            grpc.stream_stream_rpc_method_handler
            if handler.response_streaming
            else grpc.stream_unary_rpc_method_handler
        )
        return maker(
            served,
            request_deserializer=lenient(handler.request_deserializer, method),
            response_serializer=handler.response_serializer,
        )

    async def _read(self, context: Context) -> Any:
        try:
            return await self._arriving.read(context)
        except MgrError as error:
            return MalformedMessage(error)

    def _unary(self, behaviour: Behaviour) -> Behaviour:
        """Return ``behaviour`` of a unary call: its answer is counted until it is sent."""

        async def unary(request: Any, context: Context) -> Any:
            caller = self._authorizer.caller_of(context)
            await self._unread.wait_room(caller)
            answer = await behaviour(request, context)
            self._unread.until_sent(caller, answer.ByteSize())
            return answer

        return unary

    def _stream(self, behaviour: Behaviour, method: str, *, pushes: bool) -> Behaviour:
        """Return ``behaviour`` of a stream: counted, and ended once its client may not have it.

        A daemon's stream registers itself: its first message says what the client must be allowed.
        """

        async def stream(request: Any, context: Context) -> Any:
            caller = self._authorizer.caller_of(context)
            with self._stream_limits.counted(method, caller):
                context = counted(context, self._unread, caller, pushes=pushes)
                if method == REPORT:
                    return await behaviour(request, context)
                with self._authorizer.streams.endable(caller, access_request(method, request)):
                    return await behaviour(request, context)

        return stream

    def _wrap_open(self, handler: Any, method: str) -> Any:
        """Wrap a handler that checks no capabilities: gRPC would log malformed requests as errors.

        Its streams are counted as well, by address: whoever TLS lets in may open them.
        """
        kind = _kind(handler)
        behaviour = getattr(handler, kind)
        if not method.startswith(HEALTH):
            # Reflection's own handler is a generator; to it a malformed request is an empty one.
            return handler._replace(
                request_deserializer=_empty_if_malformed(handler.request_deserializer),
                **{kind: self._counted_generator(behaviour, method)},
            )

        async def counted_stream(request: Any, context: Context) -> Any:
            with self._stream_limits.counted(method, Caller.anonymous(address_of(context))):
                return await behaviour(request, context)

        opened = behaviour if kind == "unary_unary" else counted_stream
        return self._served(handler, _edge(opened, lambda _request, _context: None, method), method)

    def _counted_generator(self, behaviour: Any, method: str) -> Any:
        async def generate(requests: Any, context: Context) -> Any:
            try:
                with self._stream_limits.counted(method, Caller.anonymous(address_of(context))):
                    async for answer in behaviour(requests, context):
                        yield answer
            except MgrError as error:
                await refuse(context, error)

        return generate


class EdgeServer(grpc.aio.Server):
    """A server whose services are behind an ``Edge``."""

    def __init__(self, server: grpc.aio.Server, edge: Edge) -> None:
        """Add services to ``server``."""
        self._server = server
        self._edge = edge

    def add_generic_rpc_handlers(
        self, generic_rpc_handlers: Iterable[grpc.GenericRpcHandler]
    ) -> None:
        """See ``grpc.aio.Server``."""
        behind = [_BehindEdge(each, self._edge) for each in generic_rpc_handlers]
        self._server.add_generic_rpc_handlers(behind)

    def add_registered_method_handlers(
        self, service_name: str, method_handlers: Mapping[str, Any]
    ) -> None:
        """Add none: they are the same as the generic ones, and would be asked before them."""

    def add_insecure_port(self, address: str) -> int:
        """See ``grpc.aio.Server``."""
        return self._server.add_insecure_port(address)

    def add_secure_port(self, address: str, server_credentials: grpc.ServerCredentials) -> int:
        """See ``grpc.aio.Server``."""
        return self._server.add_secure_port(address, server_credentials)

    async def start(self) -> None:
        """See ``grpc.aio.Server``."""
        await self._server.start()

    async def stop(self, grace: float | None) -> None:
        """See ``grpc.aio.Server``."""
        await self._server.stop(grace)

    async def wait_for_termination(self, timeout: float | None = None) -> bool:  # noqa: ASYNC109 - gRPC's name
        """See ``grpc.aio.Server``."""
        return await self._server.wait_for_termination(timeout)


class _BehindEdge(grpc.GenericRpcHandler):
    """The handlers of one service, as an ``Edge`` wraps them."""

    def __init__(self, inner: grpc.GenericRpcHandler, edge: Edge) -> None:
        self._inner = inner
        self._edge = edge

    def service(self, handler_call_details: Any) -> Any:
        return self._edge.handler(handler_call_details, self._inner)


async def refuse(context: Context, error: MgrError) -> NoReturn:
    """End the call with the status of ``error``."""
    status = status_of(error)
    try:
        await context.abort(code_of(error), status.message, trailers_of(status))
    except grpc.aio.AbortError as aborted:
        _forget_frames(aborted)
        raise
    except grpc.aio.BaseError as failed:
        # The client is gone, or reads nothing, so that a message is still under way. The call then
        # ends without a status, which is all that can be done.
        log.debug("call ended without a status", extra={"error": str(failed)})
        raise asyncio.CancelledError from None
    raise AssertionError("abort always raises")


def _forget_frames(aborted: grpc.aio.AbortError) -> None:
    """Have ``aborted`` let go of the frames that it passes, once the current call has ended.

    gRPC keeps the error with the call, and the frames keep the call: they would stay until the next
    garbage collection, which may be minutes away. A client can make thousands of them a second.
    """

    def forget(_ended: object) -> None:
        aborted.__traceback__ = None

    if (task := asyncio.current_task()) is not None:
        task.add_done_callback(forget)


def internal(doing: str, error: Exception) -> InternalError:
    """Log ``error`` with its traceback; return the error for the client, which has none.

    Equal ones are logged every ten seconds only: a client may cause them as fast as it likes.
    """
    if times := _throttle.due((doing, type(error), str(error)[:100])):
        fields = {"doing": doing, "times": times}
        log.error("call failed with an unexpected error", exc_info=error, extra=fields)
    return InternalError("internal error: the manager's log has the reason")


def _kind(handler: Any) -> str:
    if handler.request_streaming:
        return "stream_stream"
    return "unary_stream" if handler.response_streaming else "unary_unary"


def _edge(behaviour: Behaviour, check: Check, method: str) -> Behaviour:
    async def edge(request: Any, context: Context) -> Any:
        try:
            if type(request) is MalformedMessage:
                raise request.error  # noqa: TRY301 - one way out for all refusals
            check(request, context)
            return await behaviour(request, context)
        except MgrError as error:
            # A frame that the error passed may have it in a variable: a cycle, which is garbage for
            # minutes and keeps the request, which can be megabytes.
            del request
            await refuse(context, error.with_traceback(None))
        except grpc.aio.AbortError as aborted:
            _forget_frames(aborted)
            raise
        except grpc.aio.BaseError as error:
            # gRPC cannot read or write any more: the client is gone.
            log.debug("call ended by its client", extra={"doing": method, "error": str(error)})
            raise asyncio.CancelledError from None
        except Exception as error:  # noqa: BLE001 - the RPC edge: only a status may pass it
            await refuse(context, internal(method, error))

    return edge


def _empty_if_malformed(deserialize: Callable[[bytes], H]) -> Callable[[bytes], H]:
    def read(data: bytes) -> H:
        try:
            return deserialize(data)
        except (DecodeError, UnicodeDecodeError):
            return deserialize(b"")

    return read


def lenient(
    deserialize: Callable[[bytes], H], method: str
) -> Callable[[bytes], H | MalformedMessage]:
    """Return ``deserialize`` within the limits of ``method``; it raises nothing."""
    # By default gRPC answers a message that cannot be decoded with UNKNOWN and a Python error.
    limit, check = bytes_max(method), CHECKS.get(method)

    def read(data: bytes) -> H | MalformedMessage:
        if len(data) > limit:
            return MalformedMessage(too_large_error(method, len(data)))
        try:
            if check is not None and len(data) > SMALL_BYTES:
                check(data)
            return deserialize(data)
        except TooManyFieldsError:
            return MalformedMessage(too_many_error(method))
        except (DecodeError, UnicodeDecodeError) as error:
            return MalformedMessage(InvalidArgumentError(f"unreadable request: {error}"))

    return read

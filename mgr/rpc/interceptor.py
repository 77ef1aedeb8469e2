"""Interceptor that converts every error of a servicer to a gRPC status. It is the only place."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NoReturn, TypeVar

import grpc
from google.protobuf.message import DecodeError

from mgr.cluster.validation import MESSAGE_BYTES_MAX
from mgr.errors import InternalError, InvalidArgumentError, MgrError, ReportLimitError
from mgr.rpc.authorization import Authorizer, access_request
from mgr.rpc.gated import GateEnforcer
from mgr.rpc.status import code_of, status_of, trailers_of

OURS: Final = "/mgr.rpc.v1."
REPORT: Final = f"{OURS}ClusterService/Report"
"""Any client can send its messages, by the thousand, so they have a size limit of their own. It
registers its streams itself: the first message says what the client must be allowed."""

Context = grpc.aio.ServicerContext[Any, Any]
Behaviour = Callable[[Any, Context], Awaitable[Any]]
Check = Callable[[Any, Context], None]
H = TypeVar("H")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MalformedMessage:
    """Stands for a message that was not decoded; ``error`` has the reason (too large, ...)."""

    error: MgrError


class StatusInterceptor(grpc.aio.ServerInterceptor):
    """Converts ``MgrError`` to its status, and any other exception to INTERNAL and a log line."""

    def __init__(self, authorizer: Authorizer, enforcer: GateEnforcer) -> None:
        """Pass calls that ``authorizer`` allows; ``enforcer`` applies the gate to them.

        Streams end with their client's right to have them.
        """
        self._authorizer = authorizer
        self._enforcer = enforcer
        self._wrapped: dict[str, Any] = {}

    async def intercept_service(
        self,
        continuation: Callable[[Any], Awaitable[Any]],
        handler_call_details: Any,
    ) -> Any:
        """Wrap the handlers of our own services; health and reflection are left unchanged."""
        handler = await continuation(handler_call_details)
        method: str = handler_call_details.method
        if handler is None or not method.startswith(OURS):
            return handler
        if method not in self._wrapped:
            bytes_max = MESSAGE_BYTES_MAX if method == REPORT else math.inf
            self._wrapped[method] = self._wrap(handler, bytes_max, method)
        return self._wrapped[method]

    def _wrap(self, handler: Any, bytes_max: float, method: str) -> Any:
        kind, maker = _kind(handler)
        behaviour = self._enforcer.behaviour(
            method, getattr(handler, kind), reads=handler.request_streaming
        )
        if handler.response_streaming and method != REPORT:
            behaviour = self._revoked(behaviour, method)
        return maker(
            _edge(behaviour, partial(self._authorizer.check, method), method),
            request_deserializer=_lenient(handler.request_deserializer, bytes_max),
            response_serializer=handler.response_serializer,
        )

    def _revoked(self, behaviour: Behaviour, method: str) -> Behaviour:
        """Return ``behaviour``, which ends once its client may not have the stream any more."""

        async def stream(request: Any, context: Context) -> Any:
            caller = self._authorizer.caller_of(context)
            with self._authorizer.streams.endable(caller, access_request(method, request)):
                return await behaviour(request, context)

        return stream


async def refuse(context: Context, error: MgrError) -> NoReturn:
    """End the call with the status of ``error``."""
    status = status_of(error)
    await context.abort(code_of(error), status.message, trailers_of(status))
    raise AssertionError("abort always raises")


def internal(doing: str, error: Exception) -> InternalError:
    """Log ``error`` with its traceback; return the error for the client, which has none."""
    log.error("call failed with an unexpected error", exc_info=error, extra={"doing": doing})
    return InternalError("internal error: the manager's log has the reason")


def _kind(handler: Any) -> tuple[str, Callable[..., Any]]:
    if handler.request_streaming:
        return "stream_stream", grpc.stream_stream_rpc_method_handler
    if handler.response_streaming:
        return "unary_stream", grpc.unary_stream_rpc_method_handler
    return "unary_unary", grpc.unary_unary_rpc_method_handler


def _edge(behaviour: Behaviour, check: Check, method: str) -> Behaviour:
    async def edge(request: Any, context: Context) -> Any:
        try:
            if type(request) is MalformedMessage:
                raise request.error  # noqa: TRY301 - one way out for all refusals
            check(request, context)
            return await behaviour(request, context)
        except MgrError as error:
            await refuse(context, error)
        except grpc.aio.AbortError:
            raise
        except Exception as error:  # noqa: BLE001 - the RPC edge: only a status may pass it
            await refuse(context, internal(method, error))

    return edge


def _lenient(
    deserialize: Callable[[bytes], H], bytes_max: float
) -> Callable[[bytes], H | MalformedMessage]:
    # By default gRPC answers a message that cannot be decoded with UNKNOWN and a Python error.
    def read(data: bytes) -> H | MalformedMessage:
        if len(data) > bytes_max:
            why = f"a message of {len(data)} bytes; the limit is {bytes_max}"
            return MalformedMessage(ReportLimitError("size", why))
        try:
            return deserialize(data)
        except (DecodeError, UnicodeDecodeError) as error:
            return MalformedMessage(InvalidArgumentError(f"unreadable request: {error}"))

    return read

"""The command service: translates between gRPC and the role; decides nothing."""

# ruff: noqa: N802 - the methods are named by the proto

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import grpc

from mgr.access.identity import Caller
from mgr.clock import Clock
from mgr.command.dispatch import Answer, Request
from mgr.command.registry import Command
from mgr.errors import DeadlineExceededError, InvalidArgumentError
from mgr.host.role import Role
from mgr.rpc.authorization import Authorizer
from mgr.rpc.codec import arguments_in
from mgr.rpc.gated import GateEnforcer
from mgr.rpc.limits import CommandLimits
from mgr.rpc.session import SessionHandler
from mgr.rpc.streams import Streams
from mgr.rpc.unread import UnreadAnswers
from mgr.rpc.v1 import command_pb2, command_pb2_grpc
from mgr.tracing import TRACEPARENT, TRACESTATE, Carried, TraceContext, parse

WORDS_MAX: Final = 1024
"""Limit of the words of one command."""
FOREVER_S: Final = 1e9
"""A deadline further away than this counts as none."""

Context = grpc.aio.ServicerContext[Any, Any]


class CommandServicer(command_pb2_grpc.CommandServiceServicer):
    """See ``proto/mgr/rpc/v1/command.proto``."""

    def __init__(
        self,
        role_of: Callable[[], Role],
        clock: Clock,
        streams: Streams,
        authorizer: Authorizer,
        enforcer: GateEnforcer,
        unread: UnreadAnswers,
    ) -> None:
        """Take the role from ``role_of`` at each call: it changes while connections stay."""
        self._role_of = role_of
        self._clock = clock
        self._streams = streams
        self._authorizer = authorizer
        self._enforcer = enforcer
        self._limits = CommandLimits(unread.limits)
        self._unread = unread
        self._descriptions: dict[str, command_pb2.DescribeCommandsResponse] = {}

    async def Execute(
        self, request: command_pb2.ExecuteRequest, context: Context
    ) -> command_pb2.ExecuteResponse:
        """Run one command."""
        time_left_s = _time_left_s(context)
        return await self.execute(
            request,
            deadline_s=None if time_left_s is None else self._clock.now() + time_left_s,
            caller=self._authorizer.caller_of(context),
            trace=_trace_in(context),
        )

    # Served with context.read and write. The type stubs allow generators only, which cannot answer
    # one command while they wait for the next.
    async def Session(self, _: object, context: Any) -> None:  # type: ignore[override]
        """Run many commands over one stream."""
        caller = self._authorizer.caller_of(context)
        await SessionHandler(self.execute, context, self._clock, self._streams, caller).run()

    async def DescribeCommands(
        self, request: command_pb2.DescribeCommandsRequest, _: Context
    ) -> command_pb2.DescribeCommandsResponse:
        """Return the descriptions of all commands, or only the etag if the client has them."""
        commands, etag = self._role_of().describe()
        if request.etag and request.etag == etag:
            return command_pb2.DescribeCommandsResponse(etag=etag)
        if etag not in self._descriptions:
            self._descriptions = {etag: _description(commands, etag)}
        return self._descriptions[etag]

    async def execute(
        self,
        request: command_pb2.ExecuteRequest,
        *,
        deadline_s: float | None,
        caller: Caller,
        trace: TraceContext | None = None,
    ) -> command_pb2.ExecuteResponse:
        """Run ``request`` before the moment ``deadline_s`` on this manager's clock.

        ``trace`` is passed on unless ``request`` has a trace context of its own.

        Raises:
            MgrError: See ``Role.execute``.
            DeadlineExceededError: It came too late. Nothing ran.
            OverloadedError: Too much of this caller is not answered. Nothing ran.

        """
        if deadline_s is not None and deadline_s <= self._clock.now():
            raise DeadlineExceededError(
                "the caller's time had run out on arrival: it was not begun"
            )
        if not request.words:
            raise InvalidArgumentError("no command given")
        if len(request.words) > WORDS_MAX:
            raise InvalidArgumentError(
                f"a command of {len(request.words)} words; the limit is {WORDS_MAX}"
            )
        own = parse(request.traceparent, request.tracestate) if request.traceparent else None
        if not self._unread.has_room(caller):
            await self._unread.wait_room(caller)
        with self._limits.counted(caller, request.ByteSize()), Carried(own or trace):
            running = self._role_of().execute(
                Request(
                    words=tuple(request.words),
                    arguments=arguments_in(request.arguments) if request.arguments else {},
                    input=_utf8(request.input),
                    request_id=request.request_id,
                    deadline_s=deadline_s,
                    caller=caller,
                    age_s=request.age.ToNanoseconds() / 1e9 if request.HasField("age") else 0.0,
                )
            )
            answer = await self._enforcer.command(running)
        self._unread.check_answer(caller)
        return _response(answer)


def _time_left_s(context: Any) -> float | None:
    # "No deadline" is None in some versions of grpcio and about 9e18 seconds in others.
    remaining_s = context.time_remaining()
    return remaining_s if remaining_s is not None and remaining_s < FOREVER_S else None


def _trace_in(context: Any) -> TraceContext | None:
    """Return the trace context in the metadata of a call; None if there is none."""
    found = {TRACEPARENT: "", TRACESTATE: ""}
    for name, value in context.invocation_metadata() or ():
        if name in found and isinstance(value, str):
            found[name] = value
    return parse(*found.values()) if found[TRACEPARENT] else None


def _utf8(data: bytes) -> bytes:
    if data:
        try:
            data.decode()
        except UnicodeDecodeError as error:
            raise InvalidArgumentError(
                f"the input is not UTF-8: byte {data[error.start]:#04x} at {error.start}"
            ) from None
    return data


def _response(answer: Answer) -> command_pb2.ExecuteResponse:
    # A module may return lone surrogates; they must not make the whole answer fail.
    return command_pb2.ExecuteResponse(
        retval=answer.retval,
        stdout=answer.stdout.encode(errors="replace"),
        stderr=answer.stderr.encode(errors="replace").decode(),
        term=answer.term,
    )


def _description(commands: Sequence[Command], etag: str) -> command_pb2.DescribeCommandsResponse:
    return command_pb2.DescribeCommandsResponse(
        etag=etag,
        commands=[
            command_pb2.CommandDescription(
                signature=command.signature.to_text(),
                help=command.help,
                perm=command.perm,
                poll=command.poll,
                module=command.module,
                hidden=command.hidden,
            )
            for command in commands
        ],
    )

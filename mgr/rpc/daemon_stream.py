"""Server side of a daemon's stream: passes reports to the fleet and commands in both directions."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from typing import Any, Final, Protocol

import grpc

from mgr.access.caps import HEALTH, JOIN, AccessRequest, owns_daemon
from mgr.access.identity import Caller
from mgr.clock import CLOCK
from mgr.cluster.daemon import Daemon, DaemonAnswer, DaemonCommand, ReportConfig
from mgr.cluster.fleet import Fleet
from mgr.errors import (
    MgrError,
    NotActiveError,
    OutcomeUnknownError,
    OverloadedError,
    ReportLimitError,
    ReportRefusedError,
)
from mgr.log_throttle import LogThrottle
from mgr.rpc.authorization import Authorizer, address_of
from mgr.rpc.calls import Calls, Write
from mgr.rpc.codec import span
from mgr.rpc.edge import MalformedMessage
from mgr.rpc.fleet_codec import (
    counters_in,
    daemon_answer_in,
    daemon_status_in,
    execute_request_of,
    open_request_in,
)
from mgr.rpc.limits import JoinLimits, identity
from mgr.rpc.revocation import RevocableStream
from mgr.rpc.streams import Streams
from mgr.rpc.v1 import cluster_pb2
from mgr.rpc.v1.command_pb2 import SessionResponse

OPEN_S: Final = 10.0
"""A stream without an open message ends after this."""
WRITE_S: Final = 10.0
"""A stream ends if the daemon does not read a message within this."""
LAST_WRITE_S: Final = 1.0
"""The same once the stream ends with an error, which can be sent only after that message."""
QUEUE_MAX: Final = 256
"""Limit of messages queued for a daemon; one more ends its stream."""
COMMANDS_MAX: Final = 256
"""Limit of commands that a daemon has not answered; one more is refused."""

Context = grpc.aio.ServicerContext[Any, Any]


class MakeCalls(Protocol):
    """Makes the object that runs the commands of one stream."""

    def __call__(self, write: Write, *, caller: Caller) -> Calls:
        """Make one that runs the commands of ``caller`` and sends answers with ``write``."""
        ...


log = logging.getLogger(__name__)
_throttle: Final = LogThrottle(CLOCK.now)


class DaemonStreamHandler:
    """Handles one daemon's stream. Implements ``mgr.cluster.daemon.DaemonStream``."""

    def __init__(
        self,
        fleet: Fleet,
        context: Context,
        *,
        streams: Streams,
        authorizer: Authorizer,
        calls: MakeCalls,
        joins: JoinLimits,
    ) -> None:
        """Serve the stream of ``context``; ``calls`` makes the handler of its commands.

        ``joins`` limits how fast new daemons become known.
        """
        self._joins = joins
        self._fleet = fleet
        self._context = context
        self._streams = streams
        self._authorizer = authorizer
        self._caller = authorizer.caller_of(context)
        self._calls = calls(self._answer, caller=self._caller)
        self._who: dict[str, str] = {}
        self._daemon: Daemon | None = None
        self._sequence = 0
        self._pending: dict[int, asyncio.Future[DaemonAnswer]] = {}
        self._commands = 0
        self._queue: deque[cluster_pb2.ReportResponse] = deque()
        self._writer: asyncio.Task[None] | None = None
        # gRPC accepts one write at a time for a stream; tasks that answer wait for this lock.
        self._writing = asyncio.Lock()
        self._serving: asyncio.Task[Any] | None = None
        self._ended: MgrError | None = None
        self._writes_over = False

    async def run(self) -> None:
        """Serve until the stream ends.

        Raises:
            MgrError: The reason why the stream ends, unless the daemon closed it.

        """
        ended: MgrError | None = None
        try:
            async with asyncio.TaskGroup() as self._tasks:
                ended = await self._serve()
                if ended is not None:
                    await self._finish_write()
                    raise ended  # cancels what still runs or waits to be written
        except* MgrError:
            pass
        finally:
            # They have references to this handler: all of it would be garbage for minutes.
            del self._calls, self._tasks
        if isinstance(ended, NotActiveError):
            raise ended  # all streams end like this after a failover: not logged for each
        if ended is not None:
            self._fleet.on_stream_ended(ended)
            self._log_end(ended)
            raise ended

    def _log_end(self, ended: MgrError) -> None:
        # Few lines for many equal ends of one client: the metric mgr_fleet_refused counts them.
        times = _throttle.due((identity(self._caller), type(ended)))
        if not times:
            return
        fields = {"peer": address_of(self._context), "error": str(ended), "times": times}
        if self._daemon is not None:
            fields["daemon"] = self._daemon.name
        log.info("daemon stream ended with an error", extra=fields)

    # -- the protocol DaemonStream --------------------------------------------------------------

    def configure(self, config: ReportConfig) -> None:
        """See ``mgr.cluster.daemon``."""
        configure = cluster_pb2.Configure(
            period=span(config.period_s),
            lowest_priority=config.lowest_priority,
            rejoin_within=span(self._fleet.rejoin_within_s),
            term=self._fleet.term,
        )
        if self._daemon is not None and self._daemon.clock_is_off:
            configure.clock_ahead.CopyFrom(span(self._daemon.clock_off_s))
        self._send(cluster_pb2.ReportResponse(configure=configure))

    async def run_command(self, request: DaemonCommand, *, timeout_s: float) -> DaemonAnswer:
        """See ``mgr.cluster.daemon``."""
        if len(self._pending) >= COMMANDS_MAX:
            raise OverloadedError(
                f"{COMMANDS_MAX} commands of this daemon are not answered yet: retry later"
            )
        self._commands += 1
        number = self._commands
        command = cluster_pb2.DaemonCommand(
            id=number,
            execute=execute_request_of(request),
            timeout=span(timeout_s),
            term=self._fleet.term,
            from_manager=request.from_manager,
        )
        answer: asyncio.Future[DaemonAnswer] = asyncio.get_running_loop().create_future()
        self._pending[number] = answer
        self._send(cluster_pb2.ReportResponse(command=command))
        try:
            async with asyncio.timeout(timeout_s):
                return await answer
        except TimeoutError:
            raise OutcomeUnknownError(
                f"no answer within {timeout_s:g} s: whether the command ran is unknown; ask the "
                "daemon before you repeat it"
            ) from None
        finally:
            self._pending.pop(number, None)

    def end(self, error: MgrError) -> None:
        """See ``mgr.cluster.daemon``."""
        if self._ended is None:
            self._ended = error
            if self._serving is not None:
                self._serving.cancel()

    # -- reading --------------------------------------------------------------------------------

    async def _serve(self) -> MgrError | None:
        self._serving = asyncio.current_task()
        try:
            with (
                self._streams.endable(),
                self._authorizer.streams.register(self._caller, None, self.end) as stream,
            ):
                await self._read_messages(stream)
        except MgrError as error:
            return error
        except grpc.aio.BaseError:
            self._fleet.on_stream_broken()
            raise asyncio.CancelledError from None  # as if gRPC had cancelled the call
        except asyncio.CancelledError:
            if self._ended is None or self._serving is None:
                self._fleet.on_stream_broken()
                raise  # the daemon went away
            self._serving.uncancel()
            return self._ended
        finally:
            self._serving = None
            self._on_end()
        return None

    async def _read_messages(self, stream: RevocableStream) -> None:
        daemon = self._daemon = await self._open(stream)
        self.configure(self._fleet.options.report_config)
        while (message := await self._context.read()) is not grpc.aio.EOF:
            if type(message) is MalformedMessage:
                raise message.error
            kind = message.WhichOneof("kind")
            if kind == "report":
                self._report(daemon, message.report)
            elif kind == "close":
                self._fleet.close(daemon, self)
                await self._fleet.wait_stored(daemon.name)  # the end of the stream acknowledges it
                return
            else:
                await self._on_message(daemon, kind, message)
        self._fleet.on_stream_broken()

    async def _open(self, stream: RevocableStream) -> Daemon:
        try:
            async with asyncio.timeout(OPEN_S):
                message = await self._context.read()
        except TimeoutError:
            raise ReportRefusedError(
                "open", f"no open message within {OPEN_S:g} s: send it first"
            ) from None
        if type(message) is MalformedMessage:
            raise message.error
        if message is grpc.aio.EOF or message.WhichOneof("kind") != "open":
            raise ReportRefusedError(
                "open", "the first message of a stream must be an open: send it first"
            )
        request = open_request_in(message.open)
        self._who = {"type": request.kind, "id": request.id}
        stream.request = AccessRequest(JOIN, "rw", arguments=self._who)
        self._authorizer.access.check(self._caller, stream.request)
        if f"{request.kind}.{request.id}" not in self._fleet.daemons:
            self._joins.check(self._caller)
        names = self._caller.identities
        owner = not names or any(owns_daemon(each, request.kind, request.id) for each in names)
        client = names[0].entry if names else ""
        return self._fleet.open(request, self, client=client, owner=owner)

    def _report(self, daemon: Daemon, report: cluster_pb2.Report) -> None:
        self._sequence += 1
        if report.sequence != self._sequence:
            raise ReportRefusedError(
                "sequence",
                f"report {report.sequence} came where {self._sequence} was due: number them "
                "without gaps, from the one after the open",
            )
        status = daemon_status_in(report)
        for metric in (status.metrics if status is not None else None) or ():
            # Otherwise a daemon could say of others, and of the manager, that they are ill.
            who = {**self._who, "code": metric.code}
            self._authorizer.access.check(self._caller, AccessRequest(HEALTH, "rw", arguments=who))
        self._fleet.report(daemon, self, report.values[:], status)

    async def _on_message(
        self, daemon: Daemon, kind: str | None, message: cluster_pb2.ReportRequest
    ) -> None:
        if kind == "declare":
            await self._declare(daemon, message.declare)
        elif kind == "call":
            if message.call.WhichOneof("kind") != "execute":
                self._fleet.on_message(daemon, self)
            if (refusal := self._calls.take(message.call, self._tasks)) is not None:
                await self._answer(refusal)
        elif kind == "result":
            # A result that no call waits for came too late: it only counts as a message.
            answer = self._pending.get(message.result.id)
            if answer is None or answer.done():
                self._fleet.on_message(daemon, self)
            else:
                answer.set_result(daemon_answer_in(message.result.response))
        else:
            raise ReportRefusedError(
                "open", f"unexpected message: {kind}; only the first one is an open"
            )

    async def _declare(self, daemon: Daemon, message: cluster_pb2.Declare) -> None:
        fleet, replace = self._fleet, message.replace
        declaration = message.SerializeToString(deterministic=True)
        schema = fleet.find_schema(
            daemon, self, declaration, count=len(message.counters), replace=replace
        )
        if schema is None:
            schema = fleet.extend_schema(
                daemon, declaration, await counters_in(message), replace=replace
            )
        fleet.declare(daemon, self, schema, replace=replace)

    def _on_end(self) -> None:
        if self._daemon is not None:
            self._fleet.on_stream_lost(self._daemon, self)
        for answer in self._pending.values():
            if not answer.done():
                answer.set_exception(
                    OutcomeUnknownError("the daemon went away: whether the command ran is unknown")
                )

    # -- writing --------------------------------------------------------------------------------

    def _send(self, message: cluster_pb2.ReportResponse) -> None:
        if self._serving is None:
            return  # the stream has ended, which the sender may not have noticed yet
        if len(self._queue) >= QUEUE_MAX:
            self.end(ReportLimitError("unread", f"{QUEUE_MAX} messages were not read"))
            return
        self._queue.append(message)
        if self._writer is None:
            self._writer = self._tasks.create_task(self._write_queue())

    async def _write_queue(self) -> None:
        try:
            while self._queue:
                await self._write(self._queue.popleft())
        finally:
            self._writer = None

    async def _finish_write(self) -> None:
        """Let the message that is being written reach gRPC, and write no further one.

        gRPC refuses to end a stream with an error while it still has a message of it.
        """
        self._writes_over = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_WRITE_S):
                async with self._writing:
                    pass

    async def _answer(self, answer: SessionResponse) -> None:
        await self._write(cluster_pb2.ReportResponse(answer=answer))

    async def _write(self, message: cluster_pb2.ReportResponse) -> None:
        async with self._writing:
            if self._ended is not None or self._writes_over:
                return  # gRPC still has the message that was not read, and accepts no other
            try:
                async with asyncio.timeout(WRITE_S):
                    await self._context.write(message)
            except TimeoutError:
                why = f"a message was not read within {WRITE_S:g} s"
                self.end(ReportLimitError("unread", why))
            except grpc.aio.BaseError as error:
                # The daemon is gone. The task that reads notices the same and ends the stream.
                log.debug("message to a daemon not written", extra={"error": str(error)})

"""Runs one joined stream until it ends: sends a report every period and answers commands."""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import Coroutine
from typing import Any, Final

from mgr.client.daemon.handlers import CommandOrigin
from mgr.client.daemon.program import Program
from mgr.client.daemon.report_stream import ReportStream
from mgr.client.daemon.reporter import Reporter
from mgr.client.pending import PendingCommands
from mgr.errors import MgrError, OverloadedError
from mgr.rpc.v1 import cluster_pb2
from mgr.rpc.v1.cluster_pb2 import CommandResult, DaemonCommand, ReportRequest, ReportResponse
from mgr.rpc.v1.command_pb2 import ExecuteResponse

PERIOD_S_MIN: Final = 0.05
SAMPLE_S: Final = 1.0
"""How long a report waits for what the program samples; then it carries the last values."""
COMMANDS_MAX: Final = 64
"""How many commands of one manager may run at once."""


class ReopenStreamError(MgrError):
    """The stream was ended here, on purpose, in order to open another one."""


class ReportSession:
    """The work on one stream between its opening and its end.

    Attributes:
        config: The last configuration that the manager sent.

    """

    def __init__(
        self,
        stream: ReportStream,
        config: cluster_pb2.Configure,
        program: Program,
        pending: PendingCommands[ReportStream],
    ) -> None:
        """Report on ``stream``, at first as ``config`` asks for; nothing happens before ``run``."""
        self._stream = stream
        self.config = config
        self._program = program
        self._reporter = Reporter(program.counters, program.reported_state)
        self._opened_version = program.handlers.version
        self._pending = pending
        self._report_now = asyncio.Event()
        self._sent_s = 0.0
        self._early: asyncio.TimerHandle | None = None
        self._leaving = False
        self._forget = False
        self._under_way: set[asyncio.Task[None]] = set()

    def leave(self, *, forget: bool) -> None:
        """Send a last report, then end the stream in good order.

        With ``forget`` the manager is asked to remove the daemon.
        """
        self._leaving, self._forget = True, forget
        self._report_now.set()

    def report_soon(self) -> None:
        """Send the next report early, but not within half a period of the last one."""
        if self._early is None:
            loop = asyncio.get_running_loop()
            at_s = max(loop.time(), self._sent_s + self._period_s / 2)
            self._early = loop.call_at(at_s, self._report_now.set)

    @property
    def _period_s(self) -> float:
        return max(PERIOD_S_MIN, self.config.period.ToNanoseconds() / 1e9)

    async def run(self) -> MgrError:
        """Report and answer commands until the stream ends; return why it ended."""
        async with asyncio.TaskGroup() as tasks:
            self._start(tasks, self._stream.write_out())
            self._start(tasks, self._report())
            self._start(tasks, self._pending.send_all(self._stream))
            try:
                while (message := await self._stream.read()) is not None:
                    self._on_message(message, tasks)
                error = await self._stream.error()
            finally:
                self._pending.stream = None
                self._cancel_early()
                for task in self._under_way:
                    task.cancel()
                self._stream.call.cancel()
        # After the tasks have ended, so that no command is sent on this stream any more.
        self._pending.stream_lost(self._stream, self._stream.leader, error)
        return error

    def _start(self, tasks: asyncio.TaskGroup, work: Coroutine[Any, Any, None]) -> None:
        task = tasks.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    # -- out --------------------------------------------------------------------------------

    async def _report(self) -> None:
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        while True:
            self._report_now.clear()
            if self._program.handlers.version != self._opened_version:
                self._stream.abort(ReopenStreamError("commands were added"))
            self._reporter.set_lowest_priority(self.config.lowest_priority)
            await self._sample()
            if declaration := self._reporter.declare():
                self._stream.send(ReportRequest(declare=declaration))
            self._cancel_early()
            self._stream.send(ReportRequest(report=self._reporter.report()))
            self._sent_s = loop.time()
            if self._leaving:
                break
            due_s = max(due_s + self._period_s, loop.time())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(due_s):
                    await self._report_now.wait()
                    due_s = loop.time()
        if self._forget:
            self._stream.send(ReportRequest(close=cluster_pb2.Close()))
        self._stream.finish()

    def _cancel_early(self) -> None:
        if self._early is not None:
            self._early.cancel()
            self._early = None

    async def _sample(self) -> None:
        """Sample what the program counts elsewhere, on a thread: its functions may take long."""
        if not self._program.is_sampled:
            return
        # If the thread is still busy for the last report, or too slow for this one, the report
        # carries the last values.
        with contextlib.suppress(OverloadedError, TimeoutError):
            async with asyncio.timeout(SAMPLE_S):
                await self._program.gauge_thread.submit(self._program.sample)

    # -- in ---------------------------------------------------------------------------------

    def _on_message(self, message: ReportResponse, tasks: asyncio.TaskGroup) -> None:
        match message.WhichOneof("kind"):
            case "configure":
                self.config = message.configure
                self._report_now.set()
            case "command" if len(self._under_way) > COMMANDS_MAX:
                busy = ExecuteResponse(retval=-errno.EBUSY, stderr="too many commands at once")
                self._answer(message.command, busy)
            case "command":
                self._start(tasks, self._run_command(message.command))
            case "answer" if not self._pending.resolve(message.answer, self._stream.leader):
                # The manager does not lead any more: all open commands go to another one.
                self._stream.abort(ReopenStreamError("the manager does not answer commands"))
            case _:
                pass  # a message that only newer clients understand

    async def _run_command(self, command: DaemonCommand) -> None:
        timeout_s = command.timeout.ToNanoseconds() / 1e9
        origin = CommandOrigin(command.term, command.from_manager)
        answer = self._program.handlers.answer(command.execute, timeout_s=timeout_s, origin=origin)
        self._answer(command, await answer)

    def _answer(self, command: DaemonCommand, response: ExecuteResponse) -> None:
        result = CommandResult(id=command.id, response=response)
        self._stream.send(ReportRequest(result=result))

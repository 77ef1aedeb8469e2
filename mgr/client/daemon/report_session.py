"""One joined stream: reports go out with every period, commands come in, until it ends."""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import Coroutine
from typing import Any, Final

from mgr.client.daemon.counters import Gauge
from mgr.client.daemon.program import Program
from mgr.client.daemon.report_stream import Line
from mgr.client.daemon.reporter import Reporter
from mgr.client.pending import Outstanding
from mgr.errors import MgrError, OverloadedError
from mgr.rpc.v1 import cluster_pb2
from mgr.rpc.v1.cluster_pb2 import CommandResult, DaemonCommand, ReportRequest, ReportResponse
from mgr.rpc.v1.command_pb2 import ExecuteResponse

PERIOD_S_MIN: Final = 0.05
SAMPLE_S: Final = 1.0
"""How long a report waits for the functions of gauges; then it goes with their last values."""
COMMANDS_MAX: Final = 64
"""Under way at once, of one manager."""


class AnewError(MgrError):
    """Not lost: this stream was ended to open another one, which says more."""


class Attendance:
    """What happens on one stream between its opening and its end.

    Attributes:
        configured: What the manager wants, by its last word.

    """

    def __init__(
        self,
        line: Line,
        configured: cluster_pb2.Configure,
        program: Program,
        outstanding: Outstanding[Line],
    ) -> None:
        """Speak over ``line``, as the manager ``configured`` it."""
        self._line = line
        self.configured = configured
        self._program = program
        self._reporter = Reporter(program.counters, program.standing)
        self._opened_with = program.handlers.version
        self._outstanding = outstanding
        self._news = asyncio.Event()
        self._leaving = False
        self._forget = False
        self._under_way: set[asyncio.Task[None]] = set()

    def leave(self, *, forget: bool) -> None:
        """Say what was counted last, then end the stream in good order."""
        self._leaving, self._forget = True, forget
        self._news.set()

    async def run(self) -> MgrError:
        """Attend until the stream ends; why it did."""
        async with asyncio.TaskGroup() as tasks:
            self._start(tasks, self._line.write_out())
            self._start(tasks, self._report())
            self._start(tasks, self._outstanding.send_all(self._line))
            try:
                while (message := await self._line.read()) is not None:
                    self._take(message, tasks)
                why = await self._line.why()
            finally:
                self._outstanding.stream = None
                for task in self._under_way:
                    task.cancel()
                self._line.stream.cancel()
        self._outstanding.lost(self._line, self._line.sighting, why)
        return why

    def _start(self, tasks: asyncio.TaskGroup, work: Coroutine[Any, Any, None]) -> None:
        task = tasks.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    # -- out --------------------------------------------------------------------------------

    async def _report(self) -> None:
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        while True:
            self._news.clear()
            if self._program.handlers.version != self._opened_with:
                self._line.cut(AnewError("commands were added"))
            self._reporter.want(self.configured.lowest_priority)
            await self._sample()
            if declaration := self._reporter.declare():
                self._line.say(ReportRequest(declare=declaration))
            self._line.say(ReportRequest(report=self._reporter.report()))
            if self._leaving:
                break
            period_s = max(PERIOD_S_MIN, self.configured.period.ToNanoseconds() / 1e9)
            due_s = max(due_s + period_s, loop.time())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(due_s):
                    await self._news.wait()
                    due_s = loop.time()
        if self._forget:
            self._line.say(ReportRequest(close=cluster_pb2.Close()))
        self._line.finish()

    async def _sample(self) -> None:
        """Ask the functions of gauges, on a thread: they are the program's and may take long."""
        gauges = self._program.counters.functions()
        if not gauges:
            return
        # Still asking since the last report, or too slow for this one: it goes without.
        with contextlib.suppress(OverloadedError, TimeoutError):
            async with asyncio.timeout(SAMPLE_S):
                await self._program.sampler.submit(lambda: _ask(gauges))

    # -- in ---------------------------------------------------------------------------------

    def _take(self, message: ReportResponse, tasks: asyncio.TaskGroup) -> None:
        match message.WhichOneof("kind"):
            case "configure":
                self.configured = message.configure
                self._news.set()
            case "command" if len(self._under_way) > COMMANDS_MAX:
                busy = ExecuteResponse(retval=-errno.EBUSY, stderr="too many commands at once")
                self._answer(message.command, busy)
            case "command":
                self._start(tasks, self._obey(message.command))
            case "answer" if not self._outstanding.hand_out(message.answer, self._line.sighting):
                # It leads no more, as it says itself: all that is open is asked elsewhere.
                self._line.cut(AnewError("the manager answers no more commands"))
            case _:
                pass  # a newer manager's: not for us

    async def _obey(self, command: DaemonCommand) -> None:
        timeout_s = command.timeout.ToNanoseconds() / 1e9
        self._answer(
            command, await self._program.handlers.answer(command.execute, timeout_s=timeout_s)
        )

    def _answer(self, command: DaemonCommand, response: ExecuteResponse) -> None:
        result = CommandResult(id=command.id, response=response)
        self._line.say(ReportRequest(result=result))


def _ask(gauges: list[Gauge]) -> None:
    for gauge in gauges:
        gauge.sample()

"""Runs an instance of a module in a process of its own."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any, Final, Protocol, TypeVar

from mgr.clock import Clock
from mgr.errors import OutcomeUnknownError, OverloadedError
from mgr.host.command_calls import CommandCalls
from mgr.host.crash import Crash, CrashOrigin
from mgr.host.execution import (
    CommandRequest,
    ModuleRaisedError,
    NotBegunError,
    OnDied,
    ProcessEndedError,
    check_may_begin,
)
from mgr.host.limits import Limits
from mgr.host.notifications import NotifyId
from mgr.module_process.declarations import CURRENT, decode_declarations, stack_text
from mgr.module_process.failures import decode_crash
from mgr.module_process.process import ModuleProcess, ProcessEnd, settle
from mgr.module_process.remote import RemoteInstance
from mgr.module_process.zygote_link import ZygoteError
from mgr.tracing import part
from mgr.worker_trace import Step, StepKind

BY_WHOM: Final = "by the kernel for lack of memory, or by hand"

T = TypeVar("T")


class ProcessHost(Protocol):
    """What the manager does for one instance in a process of its own."""

    def connect(self, process: ModuleProcess) -> Mapping[str, Any]:
        """Answer its requests and send it every change from now on; return the present state."""
        ...

    def close(self) -> None:
        """Answer and send nothing any more."""
        ...


class ProcessExecution:
    """Implements ``mgr.host.execution.Execution``. Use it on the loop."""

    def __init__(  # noqa: PLR0913 - one parameter for each part of a process
        self,
        name: str,
        *,
        start: Callable[[], Awaitable[ModuleProcess]],
        order: Mapping[str, Any],
        host: ProcessHost,
        standby: bool,
        on_died: OnDied,
        limits: Limits,
        command_calls: CommandCalls,
        clock: Clock,
        tasks: asyncio.TaskGroup,
    ) -> None:
        """Construct in the process that ``start`` starts; ``order`` says what to import there."""
        self._name = name
        self._start = start
        self._order = order
        self._host = host
        self._standby = standby
        self._on_died = on_died
        self._waiting_max = limits.commands_max
        self._may_begin = limits.may_begin
        self._command_calls = command_calls
        self._clock = clock
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._tasks = tasks
        self._process: ModuleProcess | None = None
        self._constructing: asyncio.Future[Any] | None = None
        self._starting: asyncio.Task[None] | None = None
        self._ending = False
        self.instance: Any = None

    @property
    def over(self) -> bool:
        """Whether its process has ended."""
        return self._process is not None and self._process.ended.done()

    @property
    def process(self) -> ModuleProcess | None:
        """The process; None while none was started."""
        return self._process

    def construct(self) -> asyncio.Future[Any]:
        """See ``Execution``."""
        self._constructing = asyncio.get_running_loop().create_future()
        self._starting = self._tasks.create_task(_settle(self._constructing, self._construct()))
        return self._constructing

    def serve(self) -> asyncio.Future[None]:
        """See ``Execution``."""
        return self._call("serve")

    def shutdown(self) -> asyncio.Future[None]:
        """See ``Execution``."""
        return self._call("shutdown")

    def calls_done(self) -> asyncio.Future[None]:
        """See ``Execution``."""
        if self._process is None or self.instance is None:
            done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            done.set_result(None)
            return done
        return self._call("calls_done")

    def deliver(
        self,
        config: bool,  # noqa: FBT001 - as in the protocol
        notifications: list[tuple[str, NotifyId]],
    ) -> asyncio.Future[list[tuple[CrashOrigin, BaseException]]]:
        """See ``Execution``."""

        async def deliver() -> list[tuple[CrashOrigin, BaseException]]:
            raised = await self._call("deliver", config, notifications)
            return [
                (CrashOrigin(origin), ModuleRaisedError(origin, "", decode_crash(crash)))
                for origin, crash in raised
            ]

        return self._future_of(deliver())

    async def command(self, request: CommandRequest, /) -> object:
        """See ``Execution``.

        Commands wait here and are sent one at a time: whether one may begin is decided in this
        process, and those that wait are not lost with the module's.

        Raises:
            OutcomeUnknownError: The process ended while a command ran that may change something.

        """
        with part(f"module {self._name}"):
            return await self._command(request)

    async def _command(self, request: CommandRequest) -> object:
        if self._waiting >= self._waiting_max:
            raise OverloadedError(
                f"Module '{self._name}' has {self._waiting} commands waiting: retry later"
            )
        command = request.command
        entry = self._command_calls.open(self._name, command, request.caller)
        self._waiting += 1
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        sent = False

        def over(result: Any, error: Exception | None) -> None:
            # A command that has begun goes on if its caller goes away, and the next waits for it.
            process.command = None
            self._command_calls.close(entry)
            self._turn.release()
            settle(answer, result, error)

        try:
            await self._turn.acquire()
            try:
                process = self._running()
                check_may_begin(request, self._name, self._may_begin, self._clock)
            except BaseException:
                self._turn.release()
                raise
            self._command_calls.begin(entry)
            process.command, sent = (command.prefix, self._clock.now()), True
            arguments = (command.prefix, request.arguments, request.inbuf, request.deadline_s)
            number = process.request("command", arguments, over)
            try:
                return await answer
            except ProcessEndedError:
                # Its connection may be lost before it has ended; whoever asks again waits, too.
                end = await asyncio.shield(process.ended)
                if number > end.begun:
                    raise NotBegunError from None
                return self._ended_during(command, end)
        finally:
            self._waiting -= 1
            if not sent:
                self._command_calls.close(entry)

    async def end(self) -> bool:
        """See ``Execution``: kills the process, whatever it does."""
        self._ending = True
        self._host.close()
        if self._process is not None:
            return await self._process.end()
        if self._starting is not None:
            # It waits to be started: a process that comes all the same is killed by the link.
            self._starting.cancel()
        if self._constructing is not None and not self._constructing.done():
            self._constructing.set_exception(ProcessEndedError("it was stopped"))
        return True

    def close(self) -> None:
        """See ``Execution``."""
        self._ending = True
        self._host.close()
        if self._process is not None:
            self._process.kill()

    # -- inside ---------------------------------------------------------------------------------

    async def _construct(self) -> None:
        try:
            process = self._process = await self._start()
        except ZygoteError as error:
            raise ModuleRaisedError(str(error), "", None) from error
        process.on_ended = self._on_ended
        if process.ended.done():
            self._on_ended(process.ended.result())
        found = decode_declarations(await process.call("load", self._order)[1])
        if not found.loaded:
            raise ModuleRaisedError(found.error, "", next(iter(found.crashes), None))
        seed = self._host.connect(process)
        process.note("connect", self._standby, seed)
        await process.call("construct")[1]
        self.instance = RemoteInstance(process)

    def _on_ended(self, end: ProcessEnd) -> None:
        self._host.close()
        if self._ending:
            return
        report = Crash.of_process(self._name, end.how, end.stack) if end.at_fault else None
        self._on_died(report, death_text(end))

    def _ended_during(self, command: Any, end: ProcessEnd) -> tuple[int, str, str]:
        text = (
            f"module '{self._name}' ended while '{command.prefix}' ran: {death_text(end)}. Its "
            "process is started again"
        )
        if getattr(command, "mutates", False):
            raise OutcomeUnknownError(f"'{command.prefix}' may have run in part: {text}")
        return -errno.EIO, "", text

    def _running(self) -> ModuleProcess:
        if self._process is None or self._ending:
            raise NotBegunError
        return self._process

    def _call(self, name: str, *args: Any) -> asyncio.Future[Any]:
        if self._process is None:
            raise AssertionError("construct() comes first")
        return self._process.call(name, *args)[1]

    def _future_of(self, work: Coroutine[Any, Any, T]) -> asyncio.Future[T]:
        """Return a future of ``work``, whose exception does not end the group of tasks."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._tasks.create_task(_settle(future, work))
        return future


async def _settle(future: asyncio.Future[T], work: Coroutine[Any, Any, T]) -> None:
    try:
        result = await work
    except Exception as error:  # noqa: BLE001 - it belongs to whoever waits for the future
        with suppress(asyncio.InvalidStateError):
            future.set_exception(error)
    else:
        with suppress(asyncio.InvalidStateError):
            future.set_result(result)


def death_text(end: ProcessEnd) -> str:
    """Say in one line how a module's process ended, what it was doing, and where."""
    if not end.at_fault:
        return f"its process was ended by {end.how}"
    how = f"{end.how} ({BY_WHOM})" if end.how == "SIGKILL" else end.how
    during = _during(end)
    doing = ""
    if during is not None:
        detail = f" '{during.detail}'" if during.detail else ""
        doing = f" {during.kind.words}{detail}"
    return f"its process ended by {how}{doing}{stack_text(end.stack)}"


def _during(end: ProcessEnd) -> Step | None:
    """Return what the module was being asked on the thread that died, or else beside ``serve``."""
    current = next((line for line in end.stack if line.startswith(CURRENT)), "")
    for step in end.steps:
        if current and f"{step.thread:#018x}" in current:
            return step
    asked = [step for step in end.steps if step.kind is not StepKind.SERVE] or end.steps
    return asked[-1] if asked else None

"""Where an instance of a module runs: in threads of this process, or in a process of its own.

``ModuleRunner`` performs a module's lifecycle through this interface and does not know which of
the two it is. Use it on the loop only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, Protocol

from msgspec import Struct

from mgr.clock import Clock
from mgr.errors import NOTHING_RAN, NotActiveError, NotAuthorizedError, OverloadedError
from mgr.host.bridge import Bridge, run_in_thread, thread_name
from mgr.host.command_calls import CommandCalls
from mgr.host.crash import Crash, CrashOrigin
from mgr.host.notifications import NotifyId, deliver_batch
from mgr.host.shared_state import note_constructed
from mgr.host.steps import record, recorded
from mgr.text import keep_traceback, typed_error_text
from mgr.tracing import Carried, current, part
from mgr.worker_trace import StepKind


class CommandRequest(Struct, frozen=True):
    """A command for a module.

    Attributes:
        command: As registered (``mgr.command.registry.Command``).
        deadline_s: The moment on the clock at which it is not begun any more.
        caller: The client, as the dispatcher knows it.
        permit: Called just before it begins; raises if the caller may not run it any more.

    """

    command: Any
    arguments: dict[str, Any]
    inbuf: str
    deadline_s: float
    caller: object = None
    permit: Callable[[], object] = lambda: None


class ModuleInstance(Protocol):
    """An instance of an active or standby class. A standby class may lack ``shutdown``."""

    def serve(self) -> None:
        """Do the module's own work until it is asked to stop."""
        ...


class ModuleRaisedError(Exception):
    """Stands for an exception that a module raised in another process.

    Attributes:
        traceback: The formatted traceback.
        crash: The report of it, if it is to be reported.

    """

    def __init__(self, text: str, traceback: str, crash: Crash | None) -> None:
        super().__init__(text)
        self.traceback = traceback
        self.crash = crash
        # So that whoever logs this error logs where it was raised.
        self.__cause__ = OtherProcessError(traceback)


class OtherProcessError(Exception):
    """Prints the traceback of another process."""

    def __str__(self) -> str:
        return f"in the module's process:\n{self.args[0]}"


class ProcessEndedError(Exception):
    """The module's process ended during a call. Whoever waits for its end learns the reason."""


class NotBegunError(Exception):
    """The module's process ended before the command began. Nothing ran."""


class Execution(Protocol):
    """One instance of a module, from its construction to its end.

    Each method that returns a future raises in it what the module raised, and
    ``ProcessEndedError`` if the module's process ends meanwhile. All calls but ``serve`` and
    ``shutdown`` run one at a time and in order.
    """

    @property
    def instance(self) -> Any:
        """The instance, as ``remote`` calls it; None before it is constructed."""
        ...

    @property
    def over(self) -> bool:
        """Whether its process has ended."""
        ...

    def construct(self) -> asyncio.Future[Any]:
        """Import the module's code if necessary and construct the instance."""
        ...

    def serve(self) -> asyncio.Future[None]:
        """Run its ``serve`` on a thread of its own."""
        ...

    def shutdown(self) -> asyncio.Future[None]:
        """Run its ``shutdown`` on a thread of its own."""
        ...

    def calls_done(self) -> asyncio.Future[None]:
        """Return a future that ends when all calls queued so far have ended."""
        ...

    def deliver(
        self,
        config: bool,  # noqa: FBT001 - what ``NotificationQueue.take`` returns
        notifications: list[tuple[str, NotifyId]],
    ) -> asyncio.Future[list[tuple[CrashOrigin, BaseException]]]:
        """Notify it, even if some of it raises; the exceptions raised, and where."""
        ...

    def command(self, request: CommandRequest, /) -> Awaitable[object]:
        """Run a command; see ``mgr.command.dispatch.Runner`` for the errors raised.

        Raises:
            NotBegunError: The module's process ended before. Nothing ran.

        """
        ...

    async def end(self) -> bool:
        """End whatever of it still runs, if that is possible; return whether nothing runs."""
        ...

    def close(self) -> None:
        """Accept no further calls, in either direction. Waits for nothing."""
        ...


OnDied = Callable[[Crash | None, str], None]
"""Called when a module's process has ended unasked: with the reason in words, and with a report if
it ended by its own fault."""
Isolate = Callable[[OnDied], Execution | None]
"""Makes an execution in a process of its own; None if the module is to run in threads."""


def in_threads(_on_died: OnDied) -> None:
    """Run the module in threads: the default."""


class ThreadExecution:
    """An instance in two threads of this process, which nobody can end."""

    over: Final = False

    def __init__(
        self,
        name: str,
        construct: Callable[[Bridge], ModuleInstance],
        *,
        waiting_max: int,
        may_begin: Callable[[], bool],
        clock: Clock,
        command_calls: CommandCalls,
    ) -> None:
        """Construct with ``construct``, on the module's thread.

        ``may_begin`` is called on the command thread just before each command.
        """
        self._name = name
        self._construct = construct
        self._may_begin = may_begin
        self._clock = clock
        self._command_calls = command_calls
        self._bridge = Bridge(name, waiting_max=waiting_max)
        self.instance: Any = None

    def construct(self) -> asyncio.Future[Any]:
        """See ``Execution``."""
        call = recorded(StepKind.CONSTRUCT, self._name, self._make)
        return self._bridge.to_module(call)

    def serve(self) -> asyncio.Future[None]:
        """See ``Execution``."""
        instance = self.instance
        # A lambda, so that the attribute is looked up on that thread: it is the module's code.
        serve = recorded(StepKind.SERVE, self._name, lambda: instance.serve())  # noqa: PLW0108
        return self._bridge.start_serving(serve)

    def shutdown(self) -> asyncio.Future[None]:
        """See ``Execution``."""
        instance = self.instance
        # As in ``serve``: if the class has no shutdown(), the AttributeError ends in the future.
        call = recorded(StepKind.SHUTDOWN, self._name, lambda: instance.shutdown())  # noqa: PLW0108
        return run_in_thread(thread_name(self._name, "stop"), call, module=self._name)

    def calls_done(self) -> asyncio.Future[None]:
        """See ``Execution``."""
        return self._bridge.to_module(lambda: None, ignore_limit=True)

    def deliver(
        self,
        config: bool,  # noqa: FBT001 - as in the protocol
        notifications: list[tuple[str, NotifyId]],
    ) -> asyncio.Future[list[tuple[CrashOrigin, BaseException]]]:
        """See ``Execution``."""
        batch = partial(deliver_batch, self.instance, config, notifications)
        call = recorded(StepKind.NOTIFY, self._name, batch)
        return self._bridge.to_module(call, ignore_limit=True)

    def command(self, request: CommandRequest, /) -> Awaitable[object]:
        """See ``Execution``."""
        name, command = self._name, request.command
        trace = current()
        handle: Any = getattr(self.instance, "_handle_command")  # noqa: B009 - Ceph's name, which only active modules have

        def call() -> object:
            # Only now: it waited for the thread, and the process may have been paused.
            check_may_begin(request, name, self._may_begin, self._clock)
            run = partial(handle, request.inbuf, request.arguments)
            if trace is None:
                return run_command(run, name, command)
            with Carried(trace), part(f"module {name}"):
                return run_command(run, name, command)

        return self._command_calls.run(self._bridge, name, command, request.caller, call)

    async def end(self) -> bool:
        """Return False: Python cannot end a thread."""
        return False

    def close(self) -> None:
        """See ``Execution``."""
        self._bridge.close()

    def _make(self) -> Any:
        try:
            self.instance = made = self._construct(self._bridge)
        finally:
            note_constructed(self._name)
        return made


def check_may_begin(
    request: CommandRequest, name: str, may_begin: Callable[[], bool], clock: Clock
) -> None:
    """Check that a command for the module ``name`` may begin at this moment.

    Raises:
        NotActiveError: The gate is closed. Nothing ran.
        OverloadedError: Its deadline has passed. Nothing ran.
        NotAuthorizedError: Its caller may not run it any more. Nothing ran.

    """
    if not may_begin():
        raise NotActiveError(None)
    if clock.now() >= request.deadline_s:
        raise OverloadedError(
            f"Module '{name}' was busy until the deadline of {request.command.prefix!r} had "
            "passed: the command did not run"
        )
    request.permit()


def run_command(handle: Callable[[], object], name: str, command: Any) -> object:
    """Run the handler of a command, on the module's thread.

    Raises:
        RuntimeError: In place of an error of the handler that would mean that nothing ran.

    """
    try:
        with record(StepKind.COMMAND, name, command.prefix):
            return handle()
    except (*NOTHING_RAN, NotAuthorizedError, SystemExit, StopIteration) as error:
        # The command has begun. These types mean that nothing ran: passed on unchanged, they
        # would make the client retry, and the command would run twice.
        made = RuntimeError(typed_error_text(error))
        made.__cause__ = error
        keep_traceback(made)
        raise made from error
    except Exception as error:
        keep_traceback(error)
        raise

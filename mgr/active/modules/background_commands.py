"""Runs commands for modules in the background and delivers the answers (``send_command``)."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from mgr.active.modules.modules import ActiveModules
from mgr.command.dispatch import Answer, Request
from mgr.errors import MgrError
from mgr.host.bridge import run_in_thread, thread_name
from mgr.tracing import carrying

UNDER_WAY_MAX: Final = 256
"""The most uncompleted commands of all modules; one more is answered with ``EBUSY``."""
COMMAND: Final = "command"
"""The kind of the notification that modules get when a command is completed."""

Deliver = Callable[[int, str, str], asyncio.Future[None]]
"""Passes return value, data and message of a command on to the module that sent it."""

log = logging.getLogger(__name__)


class Execute(Protocol):
    """Runs a command as if a client had sent it."""

    async def __call__(self, request: Request) -> Answer:
        """See ``mgr.command.dispatch``."""
        ...


@dataclass(frozen=True, slots=True)
class BackgroundCommand:
    """One background command.

    Attributes:
        request: The command, or the reason why it cannot be run.
        deliver: Called with the answer; the future is done when the module has dealt with it.

    """

    module: str
    request: Request | str
    tag: str
    deliver: Deliver


def deliver_in_thread(module: str, complete: Callable[[int, str, str], None]) -> Deliver:
    """Return what calls ``complete`` on a thread of its own, because it is the module's code."""

    def deliver(retval: int, outb: str, outs: str) -> asyncio.Future[None]:
        call = carrying(partial(complete, retval, outb, outs))
        return run_in_thread(thread_name(module, "answers"), call, module=module)

    return deliver


class BackgroundCommands:
    """Runs background commands concurrently. Use it on the loop."""

    def __init__(self, execute: Execute, modules: ActiveModules, tasks: asyncio.TaskGroup) -> None:
        """Run commands with ``execute``; notify ``modules`` of each that is completed."""
        self._execute = execute
        self._modules = modules
        self._tasks = tasks
        self._under_way = 0
        self._closed = False
        self._completing: set[asyncio.Future[None]] = set()

    async def close(self, limit_s: float) -> bool:
        """Deliver no more answers; wait for running deliveries and return whether all ended.

        A stopped module must not get an answer: it could act on it after its term.
        """
        self._closed = True
        if not self._completing:
            return True
        _, running = await asyncio.wait(self._completing, timeout=max(0.0, limit_s))
        return not running

    def start(self, command: BackgroundCommand) -> None:
        """Start ``command``; it is completed whether it succeeds, fails or is cancelled."""
        self._under_way += 1
        self._tasks.create_task(self._run(command), name=f"background command of {command.module}")

    async def _run(self, command: BackgroundCommand) -> None:
        # The default answer, delivered if this task is cancelled because the manager ends.
        answer = Answer(-errno.ECANCELED, "", "the manager ended before there was an answer")
        try:
            answer = await self._answer(command.request)
        finally:
            if self._closed:
                self._under_way -= 1
            else:
                completion = command.deliver(answer.retval, answer.stdout, answer.stderr)
                self._completing.add(completion)
                completion.add_done_callback(self._completing.discard)
                await self._completed(command, completion)

    async def _answer(self, request: Request | str) -> Answer:
        if isinstance(request, str):
            return Answer(-errno.ENXIO, "", request)
        if self._under_way > UNDER_WAY_MAX:
            return Answer(-errno.EBUSY, "", f"{UNDER_WAY_MAX} commands of modules are under way")
        try:
            return await self._execute(request)
        except MgrError as error:
            return Answer(-error.errno, "", str(error))

    async def _completed(
        self, command: BackgroundCommand, completion: asyncio.Future[None]
    ) -> None:
        try:
            await completion
        except Exception:  # the module's code
            log.exception(
                "completion callback of a module raised", extra={"module_name": command.module}
            )
        finally:
            self._under_way -= 1
        self._modules.notify(COMMAND, command.tag)

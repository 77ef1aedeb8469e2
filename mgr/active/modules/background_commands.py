"""Commands that modules have run without waiting for them."""

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
from mgr.host.bridge import aside, thread_name

UNDER_WAY_MAX: Final = 256
"""Commands of all modules that are not completed; one more is answered with ``EBUSY``."""
COMMAND: Final = "command"
"""What modules are notified of once one is completed."""

log = logging.getLogger(__name__)


class Execute(Protocol):
    """Runs a command as a client's would be."""

    async def __call__(self, request: Request) -> Answer:
        """See ``mgr.command.dispatch``."""
        ...


@dataclass(frozen=True, slots=True)
class Errand:
    """One such command.

    Attributes:
        asked: What is to be run, or why nobody can run it.
        complete: Gets the answer, on a thread of its own: it is the module's code.

    """

    module: str
    asked: Request | str
    tag: str
    complete: Callable[[int, str, str], None]


class Errands:
    """Runs them side by side. Use it on the loop."""

    def __init__(self, execute: Execute, modules: ActiveModules, tasks: asyncio.TaskGroup) -> None:
        """Run commands with ``execute``, and tell ``modules`` of each that is completed."""
        self._execute = execute
        self._modules = modules
        self._tasks = tasks
        self._under_way = 0
        self._closed = False
        self._answering: set[asyncio.Future[None]] = set()

    async def close(self, limit_s: float) -> bool:
        """Complete nothing any more, and wait for what is being completed; whether all ended.

        A module that was stopped is not to hear of an answer: what it does then would be done
        after its term.
        """
        self._closed = True
        if not self._answering:
            return True
        _, running = await asyncio.wait(self._answering, timeout=max(0.0, limit_s))
        return not running

    def start(self, errand: Errand) -> None:
        """Begin with it now; whatever becomes of it, it is completed."""
        self._under_way += 1
        self._tasks.create_task(self._run(errand), name=f"errand of {errand.module}")

    async def _run(self, errand: Errand) -> None:
        # Until it is known better: also what is said if the manager ends meanwhile.
        answer = Answer(-errno.ECANCELED, "", "the manager ended before there was an answer")
        try:
            answer = await self._answer(errand.asked)
        finally:
            if self._closed:
                self._under_way -= 1
            else:
                told = aside(
                    thread_name(errand.module, "answers"),
                    partial(errand.complete, answer.retval, answer.stdout, answer.stderr),
                    module=errand.module,
                )
                self._answering.add(told)
                told.add_done_callback(self._answering.discard)
                await self._completed(errand, told)

    async def _answer(self, asked: Request | str) -> Answer:
        if isinstance(asked, str):
            return Answer(-errno.ENXIO, "", asked)
        if self._under_way > UNDER_WAY_MAX:
            return Answer(-errno.EBUSY, "", f"{UNDER_WAY_MAX} commands of modules are under way")
        try:
            return await self._execute(asked)
        except MgrError as error:
            return Answer(-error.errno, "", str(error))

    async def _completed(self, errand: Errand, told: asyncio.Future[None]) -> None:
        try:
            await told
        except Exception:  # the module's code
            log.exception("complete raised", extra={"module_name": errand.module})
        finally:
            self._under_way -= 1
        self._modules.notify(COMMAND, errand.tag)

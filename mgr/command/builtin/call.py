"""Declaration of built-in commands, and the runner that runs them on the event loop."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

from mgr.access.identity import INTERNAL_CALLER, Caller
from mgr.argument.descriptor import Signature
from mgr.clock import CLOCK, Clock, timestamp
from mgr.command.dispatch import Answer
from mgr.command.registry import Command
from mgr.command.render import checked_format, render
from mgr.command.running import LOOP, RunningCommand, client_text
from mgr.errors import (
    ConflictError,
    InvalidArgumentError,
    NotFoundError,
    NotPermittedError,
)

REFUSALS: Final = (InvalidArgumentError, NotFoundError, NotPermittedError, ConflictError)
"""Errors with which a command refuses: it ran, changed nothing, and the message has the reason."""
DECLARED_MAX: Final = 1024
"""Several times the number of built-in commands."""


@dataclass(frozen=True, slots=True)
class Call:
    """Input of a handler: the validated arguments, the content of ``-i FILE``, and the caller."""

    arguments: Mapping[str, Any]
    inbuf: str = ""
    caller: Caller = INTERNAL_CALLER

    def __getitem__(self, name: str) -> Any:
        return self.arguments[name]

    def get(self, name: str, default: Any = None) -> Any:
        """Return the argument, or ``default`` if it was not given."""
        return self.arguments.get(name, default)


@dataclass(frozen=True, slots=True)
class Reply:
    """Result of a handler.

    Attributes:
        data: The data for every format; None: no data.
        plain: The text for the plain format; None: the data as pretty JSON.
        note: A sentence beside the data (stderr).
        retval: 0 or a negative errno.
        raw: Whether the plain text is sent unchanged, without an added newline.

    """

    data: Any = None
    plain: str | None = None
    note: str = ""
    retval: int = 0
    raw: bool = False


Handler = Callable[[Call], Awaitable[Reply]]


@dataclass(frozen=True, slots=True)
class BuiltinCommand:
    """A built-in command and its handler."""

    command: Command
    handler: Handler


def builtin(  # noqa: PLR0913 - what marks a command, by name
    signature: str,
    text: str,
    perm: str,
    handler: Handler,
    *,
    once: bool = False,
    secret: bool = False,
    poll: bool = False,
) -> BuiltinCommand:
    """Declare a command.

    ``once`` marks one that is not idempotent and must not be run again, ``secret`` one whose answer
    is a secret and must not be recorded, ``poll`` one that clients repeat (``mgrctl --period``).
    """
    command = _declared(signature, text, perm, idempotent=not once, secret=secret, poll=poll)
    return BuiltinCommand(command, handler)


def alias(signature: str, of: BuiltinCommand) -> BuiltinCommand:
    """Declare a deprecated name of a command: it works, and help does not show it."""
    command = _declared(
        signature,
        f"{of.command.help} (deprecated: use '{of.command.prefix}')",
        of.command.perm,
        idempotent=of.command.idempotent,
        hidden=True,
    )
    return BuiltinCommand(command, of.handler)


@lru_cache(maxsize=DECLARED_MAX)
def _declared(signature: str, text: str, perm: str, **marks: Any) -> Command:
    """Make a command once a process: only its handler differs from one term to the next."""
    return Command(Signature.parse(signature), text, perm, **marks)


class Builtins:
    """``Runner`` of the built-in commands, always ready. Handlers run on the event loop."""

    def __init__(self, commands: Iterable[BuiltinCommand], clock: Clock = CLOCK) -> None:
        """Run ``commands``, each of which has its own prefix."""
        self._clock = clock
        self._handlers = {each.command.prefix: each for each in commands}
        self._running: dict[int, tuple[RunningCommand, float]] = {}
        self._numbers = itertools.count()

    @property
    def commands(self) -> list[Command]:
        """The commands to put into the registry."""
        return [each.command for each in self._handlers.values()]

    def running(self) -> list[RunningCommand]:
        """Return the commands that run now, the oldest first."""
        now_s = self._clock.now()
        return [replace(each, age_s=now_s - at_s) for each, at_s in self._running.values()]

    is_ready: Final = True

    async def ready(self, *, until_s: float) -> None:
        """Return at once."""

    async def run(
        self,
        command: Command,
        arguments: dict[str, Any],
        inbuf: str,
        *,
        deadline_s: float,  # noqa: ARG002 - handlers begin at once and wait for the store only
        caller: Caller = INTERNAL_CALLER,
        permit: Callable[[], object] = lambda: None,
    ) -> Answer:
        """Run the handler. The format is checked first, so that an invalid one changes nothing."""
        permit()
        number = next(self._numbers)
        entry = RunningCommand(
            prefix=command.prefix,
            module=command.module,
            thread=LOOP,
            client=client_text(caller),
            since=timestamp(),
            age_s=0.0,
        )
        self._running[number] = entry, self._clock.now()
        try:
            return await self._handle(command, arguments, inbuf, caller)
        finally:
            del self._running[number]

    async def _handle(
        self, command: Command, arguments: dict[str, Any], inbuf: str, caller: Caller
    ) -> Answer:
        try:
            form = checked_format(arguments.get("format"))
            reply = await self._handlers[command.prefix].handler(Call(arguments, inbuf, caller))
        except REFUSALS as error:
            return Answer(-error.errno, "", str(error))
        if reply.raw and form == "plain":
            return Answer(reply.retval, reply.plain or "", reply.note)
        return Answer(reply.retval, render(reply.data, form, plain=reply.plain), reply.note)

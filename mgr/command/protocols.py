"""What the dispatcher asks of a module, of the term and of the journal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from mgr.access.table import Caller
from mgr.command.answer import Answer
from mgr.command.registry import Command


class Runner(Protocol):
    """Runs the commands of one module; ``mgr`` is one too.

    Both methods raise what ``NOTHING_RAN`` lists, ``ModuleNotReadyError`` or ``NotActiveError``
    for instance, only while *nothing ran*: a retry will run the command. Should the
    command's own code raise one of these, the runner wraps it in something else. Whatever else
    comes out of ``run`` is taken as raised by the command itself.
    """

    async def ready(self, *, until_s: float) -> None:
        """Return once the module takes commands; at once if it does already.

        Raises:
            ModuleNotReadyError: It is still starting at the moment ``until_s``.
            ModuleFailedError: It failed, or cannot run.

        """
        ...

    async def run(
        self,
        command: Command,
        arguments: dict[str, Any],
        inbuf: str,
        *,
        deadline_s: float,
        caller: Caller,
    ) -> object:
        """Run ``command``; what its handler returned: an ``Answer`` or a tuple of three.

        ``arguments`` holds ``prefix`` and the validated arguments. A command whose moment
        ``deadline_s`` passed before it began is not begun (``OverloadedError``). Cancelled: if
        it has not begun it is left out; if it has, it goes on and nobody hears of its result.
        """
        ...


class Gate(Protocol):
    """May this manager take commands, and may it still answer? Numbers compared, no I/O."""

    @property
    def term(self) -> int:
        """The term that is proven, 0 if none ever was."""
        ...

    def accepts(self) -> bool:
        """A new command may begin now: the term is proven, nothing drains."""
        ...

    async def wait_accepting(self, *, until_s: float) -> None:
        """Return as soon as it admits.

        Raises:
            NotActiveError: It will not, or not before the moment ``until_s``. Names the active
                where it is known.

        """
        ...

    def term_valid(self) -> bool:
        """What ran may be answered: the term is proven at this instant, draining or not."""
        ...

    async def wait_term_valid(self, *, until_s: float) -> None:
        """Return as soon as it holds.

        Raises:
            TermLostError: The term is over, or was not proven again before ``until_s``.

        """
        ...


@dataclass(frozen=True, slots=True)
class EarlierAttempts:
    """What is known of the earlier attempts of a request; all unset: nothing of it ever ran.

    Attributes:
        answer: Its recorded result.
        unclear_term: An attempt began in this term, and how far it came is unknown.

    """

    answer: Answer | None = None
    unclear_term: int | None = None


class Journal(Protocol):
    """Which mutating commands began and how they ended: ``mgr.command.journal``."""

    def earlier_attempts(
        self, request_id: str, digest: str, *, age_s: float = 0.0
    ) -> EarlierAttempts:
        """Return what is known of earlier attempts, without I/O.

        Raises:
            MayHaveRunError: What is no longer known may have run: it is not to run now.
            InvalidArgumentError: The id was used for another request.

        """
        ...

    async def begin(
        self, request_id: str, digest: str, *, idempotent: bool, age_s: float = 0.0
    ) -> EarlierAttempts:
        """Record the start. It is not to run if there is an ``answer``."""
        ...

    async def finish(self, request_id: str, digest: str, answer: Answer) -> bool:
        """Record the result. True: the store has it, which also proves the term."""
        ...

    async def forget(self, request_id: str) -> None:
        """Record that no attempt ever ran: a retry may begin."""
        ...

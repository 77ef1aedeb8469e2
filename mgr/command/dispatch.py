"""One path for every command: find, validate, admit, run at most once, shape the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Request:
    """One command as it arrived.

    Attributes:
        words: As typed, prefix first; keyword forms (``--name=value``) may stand among them.
        arguments: Further arguments by name, typed.
        input: What ``-i FILE`` holds: UTF-8 text.
        request_id: The same in every retry of one intention; empty: no promise of at most once.
        deadline_s: The *moment* on the manager's clock at which the caller stops waiting; None:
            it waits as long as it lives. (A server adds the caller's time-out to ``clock.now()``.)
        origin: Who asks, for the log: an address, or ``module hello``.

    """

    words: Sequence[str]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    input: bytes = b""
    request_id: str = ""
    deadline_s: float | None = None
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command said: 0 or a negative errno, data, words for people; the term it ran in."""

    retval: int = 0
    stdout: str = ""
    stderr: str = ""
    term: int = 0


class Runner(Protocol):
    """Runs the commands of one module; ``mgr`` is one too.

    Both methods raise ``ModuleNotEnabledError``, ``ModuleNotReadyError``, ``ModuleFailedError``
    or ``OverloadedError`` only while *nothing ran*. Whatever else comes out of ``run`` is taken
    as raised by the command itself.
    """

    async def ready(self, *, until_s: float) -> None:
        """Return once the module takes commands; at once if it does already.

        Raises:
            ModuleNotReadyError: It is still starting at the moment ``until_s``.
            ModuleFailedError: It failed, or cannot run.

        """
        ...

    async def run(
        self, command: Any, arguments: dict[str, Any], inbuf: str, *, deadline_s: float
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

    def admits(self) -> bool:
        """A new command may begin now: the term is proven, nothing drains."""
        ...

    async def admitted(self, *, until_s: float) -> None:
        """Return as soon as it admits.

        Raises:
            NotActiveError: It will not, or not before the moment ``until_s``. Names the active
                where it is known.

        """
        ...

    def holds(self) -> bool:
        """What ran may be answered: the term is proven at this instant, draining or not."""
        ...

    async def held(self, *, until_s: float) -> None:
        """Return as soon as it holds.

        Raises:
            TermLostError: The term is over, or was not proven again before ``until_s``.

        """
        ...


class Journal(Protocol):
    """Which mutating commands began and how they ended: ``mgr.command.journal``."""

    async def begin(self, request_id: str, digest: str, *, idempotent: bool) -> Answer | None:
        """Record the start; the answer instead, if the same request was answered before."""
        ...

    async def finish(self, request_id: str, answer: Answer) -> bool:
        """Record the result. True: the store has it, which also proves the term."""
        ...

    async def forget(self, request_id: str) -> None:
        """Nothing ran: a retry may begin anew."""
        ...

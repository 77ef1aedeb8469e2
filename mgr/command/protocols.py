"""Protocols of the dispatcher's collaborators: a module's runner and the gate of the term."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from mgr.access.identity import Caller
from mgr.command.registry import Command


class Runner(Protocol):
    """Runs the commands of one module, or the manager's own ones (module ``mgr``).

    Both methods raise an error of ``NOTHING_RAN`` (``ModuleNotReadyError``, ``NotActiveError``,
    ...) only if *nothing ran*: the dispatcher then lets a retry run the command. If the command's
    own code raises one of these, the runner wraps it in another exception. Any other exception
    from ``run`` counts as raised by the command itself.
    """

    @property
    def is_ready(self) -> bool:
        """Whether the module takes commands now: ``ready`` would return at once."""
        ...

    async def ready(self, *, until_s: float) -> None:
        """Wait until the module takes commands; return at once if it does already.

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
        permit: Callable[[], object],
    ) -> object:
        """Run ``command`` and return the result of its handler: an ``Answer`` or a 3-tuple.

        ``arguments`` holds ``prefix`` and the validated arguments. A command that has not begun
        at the moment ``deadline_s`` is not begun (``OverloadedError``), nor one for which
        ``permit``, called from any thread when its turn has come, raises ``NotAuthorizedError``.
        If the call is cancelled before the command began, it does not run; afterwards it runs on
        and its result is dropped.
        """
        ...


class CommandGate(Protocol):
    """Decides whether this manager may begin and answer commands. Compares numbers, no I/O."""

    @property
    def term(self) -> int:
        """The last confirmed term, 0 if there was none."""
        ...

    def accepts(self) -> bool:
        """Return whether a new command may begin now: the term is valid and not draining."""
        ...

    async def wait_accepting(self, *, until_s: float) -> None:
        """Wait until a new command may begin.

        Raises:
            NotActiveError: None may begin before the moment ``until_s``, or ever. The error
                names the active manager if it is known.

        """
        ...

    def term_valid(self) -> bool:
        """Return whether a result may be answered now: the term is valid, draining or not."""
        ...

    async def wait_term_valid(self, *, until_s: float) -> None:
        """Wait until the term is valid.

        Raises:
            TermLostError: The term is over, or was not confirmed again before ``until_s``.

        """
        ...

    async def wait_answerable(self, *, until_s: float) -> None:
        """Wait until the term is valid, for a read, which may be repeated elsewhere.

        Raises:
            NotActiveError: The term is over, or was not confirmed again before ``until_s``.

        """
        ...

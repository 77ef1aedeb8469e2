"""The data and callbacks that the active role gets from its guard for one term."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from mgr.active.documents.declared import DeclaredDocuments
from mgr.active.modules.declared_commands import DeclaredCommands
from mgr.active.modules.isolated import DeadlineGate
from mgr.command.dispatch import CommandGate
from mgr.errors import FencedError
from mgr.host.worker_context import WorkerContext
from mgr.store.api import Revision
from mgr.store.fenced import FencedStore


async def _no_preparation() -> None:
    """Return at once: the default of ``before_external``."""


class TermGate(CommandGate, DeadlineGate, Protocol):
    """The gate of a term."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierTerms:
    """What the guard knows of the terms before this one, once the record of this one is open.

    Attributes:
        effects_from_s: The time on the clock from which no worker of an earlier term can act
            outside the store any more.
        last_end: How the last term ended, for the cluster log; empty in the first term.
        planned: Whether the last term ended with a hand-over.

    """

    effects_from_s: float = 0.0
    last_end: str = ""
    planned: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class TermContext:
    """One term, as the guard passes it to its worker.

    Attributes:
        gate: Decides whether this worker may answer now.
        lease: The node lease, for keys that must end with this manager.
        resign: Asks the guard for a hand-over: reason, successor (empty: any standby), and who
            requests it (empty: this manager).
        on_fenced: Called once, when the store refuses a write because the term is over.
        before_external: Returns once the kernel is set to end this worker at the deadline of its
            term; no module that acts outside the store may start earlier.
        declared: What modules and options declare, as documents; the worker's, so that they are
            made before its term begins.
        commands: The same for commands.

    """

    term: int
    lease: int
    http_address: str
    gate: TermGate
    resign: Callable[[str, str, str], None]
    on_fenced: Callable[[FencedError], None]
    before_external: Callable[[], Awaitable[None]] = _no_preparation
    declared: DeclaredDocuments = field(default_factory=DeclaredDocuments)
    commands: DeclaredCommands = field(default_factory=DeclaredCommands)


def fenced_store(manager: WorkerContext, term_context: TermContext) -> FencedStore:
    """Return the store for the writes of this term."""
    return FencedStore(
        manager.store,
        manager.keys,
        Revision(term_context.term),
        mirror=manager.mirror,
        on_fenced=term_context.on_fenced,
        space=manager.space,
    )

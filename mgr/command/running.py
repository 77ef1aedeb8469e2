"""A command that runs, as ``command ls`` and the health check of slow commands show it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mgr.access.table import INTERNAL_CALLER, Caller

LOOP: Final = "event loop"
"""Where the manager's own commands run."""
RUNNING: Final = "running"
WAITING: Final = "waiting"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningCommand:
    """A command that has not ended. Its arguments are not kept: they may be secret.

    Attributes:
        module: The module that runs it; ``mgr`` for the manager's own commands.
        thread: The thread that runs it.
        client: Who sent it.
        since: When it was given to the module, wall time in ISO 8601, for people.
        age_s: Seconds since then.
        state: ``running``, or ``waiting`` while the thread is busy with something else.

    """

    prefix: str
    module: str
    thread: str
    client: str
    since: str
    age_s: float
    state: str = RUNNING


def client_text(caller: object) -> str:
    """Describe who sent a command."""
    if not isinstance(caller, Caller) or caller == INTERNAL_CALLER:
        return "this manager"
    if caller.identities:
        entry = caller.identities[0].entry
        return f"{entry} at {caller.address}" if caller.address else entry
    return caller.address or "unknown"

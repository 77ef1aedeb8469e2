"""``mgr set down`` while nobody leads: the one thing that a standby does itself.

Whoever set the managers down must be able to raise them again, and then there is no active who
could do it. The write is guarded like the active's, by the opposite proof: that nobody leads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from mgr.access.caps import Ask
from mgr.access.table import Caller
from mgr.clock import timestamp
from mgr.host.worker_context import Manager
from mgr.store.api import ABSENT, Created, Delete, Operation, Put

COMMAND: Final = ("mgr", "set", "down")
WRITE_S: Final = 2.0


class Said(NamedTuple):
    """An answer, as a command of the active gives it."""

    retval: int = 0
    stdout: str = ""
    stderr: str = ""
    term: int = 0


async def set_down(manager: Manager, words: Sequence[str], caller: Caller) -> Said | None:
    """Do it if it is that command and nobody leads; None: it is not, or somebody does.

    Raises:
        NotAuthorizedError: ``caller`` may not.
        StoreUnavailableError: The store did not answer; ask again.

    """
    wish = tuple(words[len(COMMAND) :])
    if tuple(words[: len(COMMAND)]) != COMMAND or wish not in {("true",), ("false",)}:
        return None
    if manager.view.leader() is not None:
        return None
    asked = Ask(" ".join(COMMAND), "rw")
    manager.view.access.check(caller, asked)
    key = manager.keys.down
    deed: Operation = Put(key, timestamp()) if wish == ("true",) else Delete(key)
    outcome = await manager.store.commit(
        [deed], when=[Created(manager.keys.leader, ABSENT)], timeout_s=WRITE_S
    )
    return Said() if outcome.succeeded else None

"""``mgr set down`` while nobody leads: the one thing that a standby does itself.

Whoever set the managers down must be able to raise them again, and then there is no active who
could do it. The write is guarded like the active's, by the opposite proof: that nobody leads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from mgr.access.caps import AccessRequest
from mgr.access.table import Caller
from mgr.clock import timestamp
from mgr.host.worker_context import WorkerContext
from mgr.store.api import ABSENT, Created, Delete, Operation, Put

COMMAND: Final = ("mgr", "set", "down")
WRITE_S: Final = 2.0


class Answer(NamedTuple):
    """An answer, as a command of the active gives it."""

    retval: int = 0
    stdout: str = ""
    stderr: str = ""
    term: int = 0


async def set_down(manager: WorkerContext, words: Sequence[str], caller: Caller) -> Answer | None:
    """Do it if it is that command and nobody leads; None: it is not, or somebody does.

    Raises:
        NotAuthorizedError: ``caller`` may not.
        StoreUnavailableError: The store did not answer; ask again.

    """
    value = tuple(words[len(COMMAND) :])
    if tuple(words[: len(COMMAND)]) != COMMAND or value not in {("true",), ("false",)}:
        return None
    if manager.view.leader() is not None:
        return None
    access_request = AccessRequest(" ".join(COMMAND), "rw")
    manager.view.access.check(caller, access_request)
    key = manager.keys.down
    operation: Operation = Put(key, timestamp()) if value == ("true",) else Delete(key)
    outcome = await manager.store.commit(
        [operation], when=[Created(manager.keys.leader, ABSENT)], timeout_s=WRITE_S
    )
    return Answer() if outcome.succeeded else None

"""Executes ``mgr set down`` while there is no active: the only command that a standby executes.

After ``mgr set down true`` there is no active that could execute ``mgr set down false``. The write
is conditional, as the active's are, but on the opposite: that no leader key exists.
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
    """The answer to a command, with the fields of the active's answers."""

    retval: int = 0
    stdout: str = ""
    stderr: str = ""
    term: int = 0


async def set_down(manager: WorkerContext, words: Sequence[str], caller: Caller) -> Answer | None:
    """Execute ``words`` if they are ``mgr set down`` and there is no active; None otherwise.

    Raises:
        NotAuthorizedError: ``caller`` is not authorized.
        StoreUnavailableError: The store did not answer; retry.

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
    # The view may be old: the comparison makes the store refuse if a leader exists by then.
    outcome = await manager.store.commit(
        [operation], when=[Created(manager.keys.leader, ABSENT)], timeout_s=WRITE_S
    )
    return Answer() if outcome.succeeded else None

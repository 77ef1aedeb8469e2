"""The errors of commands that were not begun, not finished, or that raised."""

from __future__ import annotations

import logging
from collections.abc import Callable

from mgr.access.table import Caller
from mgr.clock import Clock
from mgr.command.registry import Command
from mgr.errors import DeadlineExceededError, OutcomeUnknownError, StoreUnavailableError
from mgr.log_throttle import LogThrottle
from mgr.text import encodable, traceback_of, type_name

log = logging.getLogger(__name__)


class RaisedErrors:
    """Makes the text that a caller gets when a command raised an exception."""

    def __init__(self, clock: Clock, is_admin: Callable[[Caller], bool]) -> None:
        """Show tracebacks to callers for whom ``is_admin`` is true."""
        self._throttle = LogThrottle(clock.now)
        self._is_admin = is_admin

    def text(self, command: Command, caller: Caller, error: Exception) -> str:
        """Return the traceback for an administrator, as Ceph does; for others, what failed.

        A traceback shows paths, versions and values of this host.
        """
        if self._is_admin(caller):
            return encodable(traceback_of(error))
        kind = type_name(error)
        if times := self._throttle.due((command.prefix, kind)):
            fields = {"command": command.prefix, "module_name": command.module, "times": times}
            log.error("command raised", exc_info=error, extra=fields)
        return (
            f"'{command.prefix}' of module '{command.module}' failed with "
            f"{kind}: the manager's log has the reason"
        )


def too_late_error(command: Command) -> DeadlineExceededError:
    """Return the error for a command that was not begun in time."""
    return DeadlineExceededError(
        f"'{command.prefix}' was not begun: its caller's time was over. Nothing ran"
    )


def unfinished_error(command: Command) -> DeadlineExceededError:
    """Return the error for a command that was begun and is not finished."""
    if command.mutates:
        text = f"'{command.prefix}' was begun and is not finished: its outcome is unknown"
    else:
        text = f"'{command.prefix}' was not answered in time. It only reads: nothing was changed"
    return DeadlineExceededError(text)


def unclear_error(command: Command, error: StoreUnavailableError) -> OutcomeUnknownError:
    """Return the error for a mutating command during which the store did not answer.

    ``StoreUnavailableError`` would mean that nothing ran, also for an idempotent command. But it
    is about the last request to the store only, and the command may have made others before it.
    """
    if isinstance(error, OutcomeUnknownError):
        return error
    unclear = OutcomeUnknownError(f"'{command.prefix}' may have run in part: {error}")
    unclear.__cause__ = error
    return unclear


def withheld_error(command: Command, error: Exception) -> OutcomeUnknownError:
    """Return the error for a command that ran, and whose audit record is not kept."""
    return OutcomeUnknownError(f"'{command.prefix}' ran and is not acknowledged: {error}")

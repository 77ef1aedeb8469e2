"""The check for commands that do not end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from mgr.command.running import RUNNING, RunningCommand
from mgr.health.check import Check, Severity

COMMAND_SLOW: Final = "MGR_COMMAND_SLOW"
DETAILS_MAX: Final = 20
"""The most lines of detail."""


def slow_commands(
    running: Iterable[RunningCommand], slow_s: Callable[[str], float]
) -> tuple[str, ...]:
    """Describe the commands older than ``slow_s`` of their module, in seconds; none if that is 0.

    Of commands that wait for one thread only the running one is described. If none runs, the
    thread is busy with another call of its module, and the one that has waited longest is.
    """
    # A command without an age cannot be slow: most updates ask for no limit at all.
    slow = [each for each in running if (most := slow_s(each.module)) and each.age_s >= most]
    slow.sort(key=lambda each: each.state != RUNNING)
    busy: set[str] = set()
    lines = []
    for each in slow:
        if each.state != RUNNING and each.module in busy:
            continue
        busy.add(each.module)
        # The moment and no number of seconds: the text would change every second.
        lines.append(
            f"'{each.prefix}' of module '{each.module}' {_doing(each)} since {each.since}, "
            f"for {each.client}"
        )
    return tuple(lines)


def command_checks(slow: Sequence[str]) -> list[Check]:
    """Return a warning while there are ``slow`` commands: which, since when, for whom."""
    if not slow:
        return []
    detail = slow[:DETAILS_MAX]
    if len(slow) > DETAILS_MAX:
        detail = (*detail, f"and {len(slow) - DETAILS_MAX} more: see `mgrctl command ls`")
    remedy = (
        "further commands of the module wait for it; `mgrctl command ls` lists them. If it does "
        "not end: of a module in a process of its own, `mgrctl mgr module reload NAME` ends that; "
        "else `mgrctl mgr fail` hands over, and the worker is ended with it"
    )
    one, many = f"Command {slow[0]}", f"{len(slow)} commands do not end"
    return [
        Check(
            code=COMMAND_SLOW,
            severity=Severity.WARN,
            summary=one if len(slow) == 1 else many,
            count=len(slow),
            detail=(*detail, remedy),
        )
    ]


def _doing(command: RunningCommand) -> str:
    if command.state == RUNNING:
        return f"runs on {command.thread}"
    return f"waits for {command.thread}"

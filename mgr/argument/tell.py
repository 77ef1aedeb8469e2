"""``tell mgr[.<id>] <command>``: a command for one manager by name.

In Ceph this reaches a socket with commands of its own. Here a manager that does not lead has none,
so it is the active's commands, and the way to be sure who answers. Two of Ceph's forms name nobody:
``config get <key>`` and ``config show`` are about the manager that is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mgr.errors import InvalidArgumentError

TELL: Final = "tell"
OURS: Final = "mgr"
ANYBODY: Final = frozenset({"", "*"})
ABOUT_ITSELF: Final[dict[tuple[str, ...], int]] = {("config", "show"): 0, ("config", "get"): 1}
"""Commands that, with so many words behind them, are about the manager that is told."""


def meant(words: Sequence[str], active: str) -> tuple[str, tuple[str, ...]]:
    """Whom ``words`` are for, and what they then ask; words that are no ``tell``: the active.

    Raises:
        InvalidArgumentError: They tell something that is no manager, or nothing.

    """
    if not words or words[0] != TELL:
        return active, tuple(words)
    if len(words) < 3:
        raise InvalidArgumentError("write: tell mgr[.<id>] <command>")
    kind, _, name = words[1].partition(".")
    if kind != OURS:
        raise InvalidArgumentError(f"'{words[1]}' takes no commands: write mgr or mgr.<id>")
    name = active if name in ANYBODY else name
    asked = tuple(words[2:])
    if ABOUT_ITSELF.get(asked[:2]) == len(asked) - 2:
        asked = (*asked[:2], f"{OURS}.{name}", *asked[2:])
    return name, asked

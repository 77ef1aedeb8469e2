"""Status: who is there, what they run, and what the fleet counts. Reads, and shows it.

No ``from __future__ import annotations`` here: commands are derived from annotations.
"""

import errno
from typing import Any

from mgr_module import CLIReadCommand, MgrModule
from object_format import ErrorResponse, ObjectFormatAdapter, Responder

from . import overview, rates
from .table import table


class Tabular(ObjectFormatAdapter):
    """Formats rows as a table where a person reads, and as data where a program does."""

    def format_plain(self) -> str:
        """A table."""
        return table(self.obj)


class TableResponder(Responder):
    """``Responder`` for rows: a table, unless ``--format`` says otherwise."""

    def __init__(self) -> None:
        """Format rows."""
        super().__init__(Tabular)
        self.default_format = "plain"


class Module(MgrModule):
    """Commands only; nothing runs in the background."""

    EFFECTS = "store"

    @CLIReadCommand("mgr status")
    @TableResponder()
    def managers(self) -> list[dict[str, Any]]:
        """Show the managers: which is active, which wait."""
        return overview.managers(self.get("mgr_map"))

    @CLIReadCommand("module status")
    @TableResponder()
    def modules(self) -> list[dict[str, Any]]:
        """Show the modules: which run, where they serve, what ails them."""
        return overview.modules(self.get("mgr_map"))

    @CLIReadCommand("counter ls")
    @TableResponder()
    def counters(self, type: str = "") -> list[dict[str, Any]]:  # noqa: A002 - the argument's name
        """List what daemons count, of one type or of all."""
        return rates.counters(self.get_counter_rows(type))

    @CLIReadCommand("counter top", poll=True)
    @TableResponder()
    def top(self, type: str, path: str, count: int = 10) -> list[dict[str, Any]]:  # noqa: A002 - as above
        """Show the daemons of <type> of which a counter grows most, every --period seconds."""
        found = rates.top(self.get_counter_rows(type), path, max(1, count))
        if not found:
            raise ErrorResponse(f"no daemon of type '{type}' counts '{path}'", -errno.ENOENT)
        return found

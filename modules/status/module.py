"""Status: commands that show managers, modules and the fleet's counters. Read only.

No ``from __future__ import annotations`` here: commands are derived from annotations.
"""

import errno
from typing import Any

from mgr_module import CLIReadCommand, MgrModule
from object_format import ErrorResponse, ObjectFormatAdapter, Responder

from . import overview, rates
from .table import table


class Tabular(ObjectFormatAdapter):
    """Formats rows as a table (``plain``), or as data in the other formats."""

    def format_plain(self) -> str:
        """Format the rows as a table."""
        return table(self.obj)


class TableResponder(Responder):
    """``Responder`` for rows: a table, unless ``--format`` selects another format."""

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
        """Show the managers: which is active, which are standbys."""
        return overview.managers(self.get("mgr_map"), self._address_of)

    def _address_of(self, manager: str) -> str:
        return (self.get_metadata("mgr", manager) or {}).get("addr", "")

    @CLIReadCommand("module status")
    @TableResponder()
    def modules(self) -> list[dict[str, Any]]:
        """Show the modules: which run, their addresses and their errors."""
        return overview.modules(self.get("mgr_map"))

    @CLIReadCommand("counter ls")
    @TableResponder()
    def counters(self, type: str = "") -> list[dict[str, Any]]:  # noqa: A002 - the argument's name
        """List the counters of daemons, of one type or of all."""
        return rates.counters(self.get_counter_rows(type))

    @CLIReadCommand("counter top", poll=True)
    @TableResponder()
    def top(self, type: str, path: str, count: int = 10) -> list[dict[str, Any]]:  # noqa: A002 - as above
        """Show the daemons of <type> whose counter grows fastest, every --period seconds."""
        found = rates.top(self.get_counter_rows(type), path, max(1, count))
        if not found:
            raise ErrorResponse(f"no daemon of type '{type}' has counter '{path}'", -errno.ENOENT)
        return found

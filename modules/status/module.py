"""Status: who is there, and what they run. Reads one document, ``mgr_map``, and shows it.

No ``from __future__ import annotations`` here: commands are derived from annotations.
"""

from typing import Any

from mgr_module import CLIReadCommand, MgrModule
from object_format import ObjectFormatAdapter, Responder

from . import overview
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
    """Two commands; nothing runs in the background."""

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

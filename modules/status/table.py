"""Formats rows as a text table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def table(rows: Sequence[Mapping[str, object]]) -> str:
    """Format one line for each row below a line of headings; empty if there are no rows.

    The columns are those of the first row.
    """
    if not rows:
        return ""
    columns = list(rows[0])
    cells = [
        [column.upper() for column in columns],
        *([str(row.get(column, "")) for column in columns] for row in rows),
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    padded = (
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        for line in cells
    )
    return "\n".join(line.rstrip() for line in padded)

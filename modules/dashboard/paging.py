"""One page of a long list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

ROWS: Final = 50


def paged(rows: Sequence[Any], page: int, size: int = ROWS) -> dict[str, Any]:
    """Return the rows of ``page`` (the last one if there are fewer), and how many there are."""
    pages = max(1, -(-len(rows) // size))
    shown = min(page, pages)
    begin = (shown - 1) * size
    return {"rows": rows[begin : begin + size], "total": len(rows), "page": shown, "pages": pages}

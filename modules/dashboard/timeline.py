"""The failover timeline: each term with its holder, its beginning and end, and the gap before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from .page import PageRequest
from .reader import Reader, Sourced

HISTORY: Final = "mgr history"
SHOWN_MAX: Final = 100
PLANNED: Final = frozenset({"resigned"})
"""Reasons of a hand-over that was asked for."""


def content(request: PageRequest) -> dict[str, Any]:
    """Return the variables of the template ``timeline.html``."""
    return {
        "status": request.reader.status(),
        "history": history(request.reader),
        "may": request.viewer.permitted({"mgr fail"}),
    }


def history(reader: Reader) -> Sourced:
    """Return the last terms, newest first, each with how the term before it ended."""

    def read() -> list[dict[str, Any]]:
        terms = reader.command(HISTORY, num=SHOWN_MAX + 1)
        return [
            {**term, "before": before, "kind": _kind(before)}
            for term, before in zip(terms, [*terms[1:], None], strict=True)
        ][:SHOWN_MAX]

    return reader.shared("history", "the history of terms in etcd", read)


def _kind(before: Mapping[str, Any] | None) -> str:
    if before is None:
        return "first"
    return "planned" if before["reason"] in PLANNED else "failure"

"""The failover timeline: each term with its holder, its beginning and end, and the gap before."""

from __future__ import annotations

from typing import Any, Final

from .page import PageRequest
from .reader import Reader, Sourced

HISTORY: Final = "mgr history"
SHOWN_MAX: Final = 100


def content(request: PageRequest) -> dict[str, Any]:
    """Return the variables of the template ``timeline.html``."""
    return {
        "status": request.reader.status(),
        "history": history(request.reader),
        "change": last_change(request.reader),
        "may": request.viewer.permitted({"mgr fail"}),
    }


def history(reader: Reader) -> Sourced:
    """Return the last terms, newest first."""

    def read() -> Any:
        return reader.command(HISTORY) if reader.has(HISTORY) else []

    return reader.shared("history", "history of terms in etcd", read)


def last_change(reader: Reader) -> Sourced:
    """Return why this term began, in words; None where that is not known."""

    def read() -> str:
        lines = reader.command("log last", num=100, level="info", channel="cluster")
        messages = [each["message"] for each in lines]
        begins = [n for n, line in enumerate(messages) if line.startswith("Activating manager")]
        after = messages[begins[-1] + 1] if begins and begins[-1] + 1 < len(messages) else ""
        return after if after.startswith("mgr.") else ""

    return reader.shared("change", "cluster log of this term", read, for_s=5.0)

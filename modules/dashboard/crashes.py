"""Crash reports: what failed, where, and whether somebody has looked at it."""

from __future__ import annotations

from typing import Any, Final

from .page import NotFoundError, PageRequest
from .paging import paged
from .reader import CommandError, Reader, Sourced

BUTTONS: Final = frozenset({"crash archive", "crash archive-all", "crash rm"})


def content(request: PageRequest) -> dict[str, Any]:
    """Return the variables of the template ``crashes.html``."""
    found = listed(request.reader)
    return {
        "crashes": found,
        "listed": paged(found.value or (), request.number("page")),
        "new": sum("archived" not in each for each in found.value or ()),
        "may": request.viewer.permitted(BUTTONS),
    }


def detail(request: PageRequest) -> dict[str, Any]:
    """Return the variables of the template ``crash.html``."""
    name = request.params["name"]
    try:
        found = request.reader.command("crash info", id=name)
    except CommandError as error:
        raise NotFoundError(str(error)) from None
    rest = {key: value for key, value in found.items() if key != "backtrace"}
    return {
        "title": name,
        "crashes": listed(request.reader),
        "crash": found,
        "rest": rest,
        "may": request.viewer.permitted(BUTTONS),
    }


def listed(reader: Reader) -> Sourced:
    """Return every crash report, newest first."""

    def read() -> list[dict[str, Any]]:
        found = reader.command("crash ls", format="json")
        return sorted(found, key=lambda each: str(each["timestamp"]), reverse=True)

    return reader.shared("crashes", "the module crash", read, for_s=2.0)

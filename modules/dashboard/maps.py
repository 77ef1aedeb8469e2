"""Maps: the documents that clients and modules publish."""

from __future__ import annotations

from typing import Any, Final

from .page import NotFoundError, PageRequest
from .paging import paged
from .reader import CommandError, Reader, Sourced
from .render import pretty

SHOWN_CHARACTERS: Final = 100_000


def content(request: PageRequest) -> dict[str, Any]:
    """Return the variables of the template ``maps.html``."""
    found = listed(request.reader)
    return {"maps": found, "listed": paged(found.value or (), request.number("page"))}


def detail(request: PageRequest) -> dict[str, Any]:
    """Return the variables of the template ``map.html``."""
    name = request.params["name"]
    known = listed(request.reader)
    found = next((each for each in known.value or () if each["name"] == name), None)
    if found is None:
        raise NotFoundError(f"there is no map {name!r}")
    document = request.reader.shared(
        f"map {name}", "maps in etcd", lambda: _text(request.reader, name)
    )
    return {
        "title": name,
        "maps": known,
        "map": found,
        "document": document,
        "may": request.viewer.permitted({"map rm"}),
    }


def listed(reader: Reader) -> Sourced:
    """Return name, version and size of every map."""
    return reader.shared("maps", "maps in etcd", lambda: reader.command("map ls"))


def _text(reader: Reader, name: str) -> str:
    try:
        text = pretty(reader.command("map get", name=name))
    except CommandError as error:
        return str(error)
    rest = len(text) - SHOWN_CHARACTERS
    return text if rest <= 0 else f"{text[:SHOWN_CHARACTERS]}\n… and {rest} characters more"

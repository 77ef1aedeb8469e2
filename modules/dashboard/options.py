"""Options: the stored ones, every one by name, a typed form for each, and their history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from .page import NotFoundError, PageRequest
from .paging import paged
from .reader import CommandError, Reader, Sourced

BUTTONS: Final = frozenset({"config set", "config rm", "config reset"})
VERSIONS: Final = 30
NUMBERS: Final = frozenset({"int", "uint", "size", "secs", "millisecs"})
DECIMALS: Final = frozenset({"float"})
MGR: Final = "mgr"


def content(request: PageRequest) -> dict[str, Any]:
    """Return the variables of the template ``options.html``."""
    reader = request.reader
    return {
        "stored": stored(reader),
        "found": found_names(request),
        "history": history(reader),
        "may": request.viewer.permitted(BUTTONS),
    }


def detail(request: PageRequest) -> dict[str, Any]:
    """Return the variables of the template ``option.html``."""
    reader, name = request.reader, request.params["name"]
    try:
        spec = reader.command("config help", key=name)
    except CommandError as error:
        raise NotFoundError(str(error)) from None
    values = stored(reader)
    here = [each for each in values.value or () if each["name"] == name]
    own = next((each["value"] for each in here if each["section"] == MGR), None)
    return {
        "title": name,
        "option": form_of(name, spec, own),
        "spec": spec,
        "stored": values,
        "others": [each for each in here if each["section"] != MGR],
        "may": request.viewer.permitted(BUTTONS),
    }


def stored(reader: Reader) -> Sourced:
    """Return every stored option."""
    return reader.shared("stored", "options in etcd", lambda: reader.command("config dump"))


def history(reader: Reader) -> Sourced:
    """Return the last changes of options, newest first."""
    return reader.shared(
        "option history", "the history of options in etcd",
        lambda: reader.command("config log", num=VERSIONS),
    )  # fmt: skip


def found_names(request: PageRequest) -> dict[str, Any]:
    """Return one page of the names of all options that contain what was searched for."""
    names = request.reader.shared(
        "option names", "declarations", lambda: request.reader.command("config ls"), for_s=10.0
    )
    wanted = request.text("q").lower()
    matching = [name for name in names.value or () if wanted in name.lower()] if wanted else []
    return paged(matching, request.number("page"))


def form_of(name: str, spec: Mapping[str, Any], value: str | None) -> dict[str, Any]:
    """Return what a form shows of an option: ``spec`` as Ceph describes it, and its value."""
    kind = str(spec.get("type", "str"))
    default = _text(spec.get("default_value", spec.get("default", "")))
    choices: Sequence[str] = [
        str(each) for each in spec.get("enum_allowed") or spec.get("enum_values") or ()
    ]
    if kind == "bool":
        # Ceph's documents have Python's words.
        control, default = "bool", default.lower()
    elif choices:
        control = "choice"
    elif kind in NUMBERS and _is_number(value) and _is_number(default):
        control = "number"
    elif kind in DECIMALS:
        control = "decimal"
    else:
        control = "text"
    return {
        "name": name,
        "short": name.rpartition("/")[2],
        "kind": kind,
        "control": control,
        "value": default if value is None else value,
        "default": default,
        "changed": value is not None,
        "choices": choices,
        "min": _text(spec.get("min", "")),
        "max": _text(spec.get("max", "")),
        "help": str(spec.get("desc") or ""),
        "long": str(spec.get("long_desc") or ""),
        "level": str(spec.get("level") or ""),
        "runtime": bool(spec.get("can_update_at_runtime") or spec.get("flags")),
    }


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def _is_number(text: str | None) -> bool:
    return text is None or text == "" or text.lstrip("-").isdecimal()

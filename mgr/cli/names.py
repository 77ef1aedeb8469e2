"""Completion of names: of modules, options, daemons and managers, which only the active knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

NAMES_MAX: Final = 1000
"""A shell shows no more than this many."""
MODULES: Final = ("mgr", "module", "ls")
OPTIONS: Final = ("config", "ls")
DAEMONS: Final = ("daemon", "ls")
MANAGERS: Final = ("mgr", "metadata")
SECTIONS: Final = ("global", "mgr")
"""Sections of options that exist in every cluster; ``mgr.<id>`` is one as well."""

Source = Callable[[tuple[str, ...]], Any]
"""Runs a command that only reads, and returns its JSON document; None without an answer."""

_MANAGER_NAME: Final = "manager"
_SECTION: Final = "section"
_DAEMON: Final = "daemon"
_MODULE: Final = "module"
_OPTION: Final = "option"

_BY_ARGUMENT: Final[Mapping[tuple[str, str], str]] = {
    ("mgr module", "module"): _MODULE,
    ("mgr self-test module", "module"): _MODULE,
    ("config", "who"): _SECTION,
    ("config", "key"): _OPTION,
    ("config", "name"): _OPTION,
    ("daemon", "name"): _DAEMON,
    ("device", "who"): _DAEMON,
    ("mgr fail", "who"): _MANAGER_NAME,
    ("mgr metadata", "who"): _MANAGER_NAME,
}
"""What an argument names, by the first words of its command and its own name."""


def names_for(prefix: str, argument: str, ask: Source) -> list[str]:
    """Return the names that ``argument`` of the command ``prefix`` may have."""
    for (beginning, name), kind in _BY_ARGUMENT.items():
        if name == argument and f"{prefix} ".startswith(f"{beginning} "):
            return _names_of(kind, ask)[:NAMES_MAX]
    return []


def targets(ask: Source) -> list[str]:
    """Return what ``tell`` may address: daemons, and managers as ``mgr.<id>``."""
    found = [*_names_of(_DAEMON, ask), *(f"mgr.{name}" for name in _names_of(_MANAGER_NAME, ask))]
    return found[:NAMES_MAX]


def _names_of(kind: str, ask: Source) -> list[str]:
    if kind == _SECTION:
        return [*SECTIONS, *(f"mgr.{name}" for name in _names_of(_MANAGER_NAME, ask))]
    if kind == _MODULE:
        found = ask(MODULES)
        lists = found.values() if isinstance(found, Mapping) else ()
        return sorted({name for each in lists for name in _texts(each)})
    return _texts(ask({_OPTION: OPTIONS, _DAEMON: DAEMONS, _MANAGER_NAME: MANAGERS}[kind]))


def _texts(document: Any) -> list[str]:
    """Return the names in a list of texts, or of objects with a name."""
    if not isinstance(document, list):
        return []
    found = [each.get("name") if isinstance(each, Mapping) else each for each in document]
    return [name for name in found if isinstance(name, str)]

"""Reads what a module's class declares in attributes, and says what is wrong with one."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mgr.host.crash import Crash, CrashOrigin
from mgr.host.module_package import InvalidModuleError, describe_error
from mgr.module_api.module import MgrModule
from mgr.text import shortened

SHOWN_MAX = 60
"""Characters of a wrong value that are shown."""

log = logging.getLogger(__name__)


def declarations(owner: type, name: str, needed: Sequence[str]) -> list[Mapping[str, Any]]:
    """Return the list of declarations called ``name``.

    Raises:
        InvalidModuleError: It is no list, or an entry is malformed; Ceph's text, and what is wrong.

    """
    value = getattr(owner, name, None)
    if not isinstance(value, list | tuple):
        raise _invalid(name, f"it is a {type(value).__name__}, and not a list")
    for number, entry in enumerate(value, start=1):
        if not isinstance(entry, Mapping):
            raise _invalid(name, f"entry {number} is a {type(entry).__name__}, and not a dict")
        if missing := [key for key in needed if key not in entry]:
            shown = shortened(repr(dict(entry)), SHOWN_MAX)
            raise _invalid(name, f"entry {number} has no {missing[0]!r}: {shown}")
        if "name" in needed and not (isinstance(entry["name"], str) and entry["name"]):
            shown = shortened(repr(entry["name"]), SHOWN_MAX)
            raise _invalid(name, f"the name of entry {number} is no text: {shown}")
    return list(value)


def notify_types(active: type[MgrModule], name: str) -> frozenset[str]:
    """Return the kinds of notification that a class subscribes to; none if they are malformed."""
    wanted = getattr(active, "NOTIFY_TYPES", None) or []
    if not isinstance(wanted, list | tuple) or not all(isinstance(one, str) for one in wanted):
        log.error(
            "module's NOTIFY_TYPES is not a list of names: ignored", extra={"module_name": name}
        )
        return frozenset()
    return frozenset(str(getattr(one, "value", one)) for one in wanted)


def secret_keys(active: type[MgrModule]) -> tuple[str, ...]:
    """Return the keys of a module's entries that it declares to be secrets.

    Raises:
        InvalidModuleError: They are no list of texts: a secret would be shown for a slip.

    """
    value = getattr(active, "SECRET_STORE_KEYS", ())
    listed = isinstance(value, list | tuple | set | frozenset)
    if not listed or not all(isinstance(each, str) for each in value):
        shown = shortened(repr(value), SHOWN_MAX)
        raise InvalidModuleError(f"SECRET_STORE_KEYS is not a list of texts: {shown}")
    return tuple(value)


def check_can_run(
    active: type[MgrModule], name: str, folder: Path, crashes: list[Crash]
) -> tuple[bool, str]:
    """Return whether the module says that it can run, and why not; what it raises means no."""
    try:
        answer: object = active.can_run()
    except Exception as error:  # the module's code
        log.exception("module can_run() raised", extra={"module_name": name})
        crashes.append(Crash.of(name, CrashOrigin.CAN_RUN, error))
        return False, f"can_run() raised {describe_error(error, folder)}"
    match answer:
        case (bool(can), str(why)) if isinstance(answer, tuple):
            return can, "" if can else why
        case _:
            return False, "wrong type returned from can_run"


def _invalid(name: str, why: str) -> InvalidModuleError:
    return InvalidModuleError(f"Missing or invalid {name} attribute: {why}")

"""Which modules are enabled: one record for each module, written by ``mgr module enable``.

Where a module has no record, the defaults of the host's release decide.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from collections.abc import Set as AbstractSet
from typing import Final

import msgspec

from mgr.store.api import UNREADABLE, Reader
from mgr.store.keys import Keys

DEFAULT_ENABLED: Final = frozenset({"crash", "progress", "status"})
"""Modules that are enabled without a record where they are present, so that a new cluster has more
than its own commands."""
RESTRICTED: Final = frozenset({"selftest", "cli_api"})
"""Modules whose commands do what the capability to run commands of modules is not meant to give:
``selftest`` ends and blocks the manager (Ceph's also runs code that a client sends), ``cli_api``
calls the interface of modules. Only a client that may do everything enables them. They are in no
default set."""

log = logging.getLogger(__name__)


class Switch(msgspec.Struct, frozen=True, kw_only=True):
    """The value of ``modules/<name>``.

    Attributes:
        enabled: Whether the module runs. Ignored for always-on modules.
        forced_off: Whether an always-on module is prevented from running.

    """

    enabled: bool = False
    forced_off: bool = False


def encode(switch: Switch) -> str:
    """Return ``switch`` as the record's value."""
    return msgspec.json.encode(switch).decode()


def decode(value: str) -> Switch | None:
    """Parse a record's value; None if it is unreadable, which is logged: the defaults hold."""
    try:
        return msgspec.json.decode(value, type=Switch)
    except UNREADABLE as error:
        log.warning("unreadable module record", extra={"value": value, "error": str(error)})
        return None


def is_on(switch: Switch | None, *, always_on: bool, default: bool) -> bool:
    """Whether a module is enabled; without a record, ``default`` or ``always_on`` decides."""
    if switch is None:
        return always_on or default
    return not switch.forced_off if always_on else switch.enabled


def enabled_modules(
    mirror: Reader, keys: Keys, always_on: AbstractSet[str], present: Collection[str]
) -> list[str]:
    """Return the names of all enabled modules, sorted.

    ``present`` are the modules of this host. One that a record enables is returned also if it is
    not among them; one that only the default enables is not, since nobody asked for it.
    """
    enabled = DEFAULT_ENABLED.intersection(present) | always_on
    for key, record in mirror.list(keys.modules).items():
        name = key.removeprefix(keys.modules)
        switch = decode(record.value)
        if switch is None:
            continue
        if is_on(switch, always_on=name in always_on, default=name in DEFAULT_ENABLED):
            enabled |= {name}
        else:
            enabled -= {name}
    return sorted(enabled)


def forced_off_modules(mirror: Reader, keys: Keys) -> list[str]:
    """Return the names of the modules that an operator forced off, sorted."""
    return [
        key.removeprefix(keys.modules)
        for key, record in mirror.list(keys.modules).items()
        if (switch := decode(record.value)) is not None and switch.forced_off
    ]

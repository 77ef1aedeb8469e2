"""Which modules are switched on: one record a module, written by ``mgr module enable``.

A module without a record is as its host's defaults say; a record decides.
"""

from __future__ import annotations

import logging

import msgspec

from mgr.store.api import UNREADABLE

log = logging.getLogger(__name__)


class Switch(msgspec.Struct, frozen=True, kw_only=True):
    """The value of ``modules/<name>``.

    Attributes:
        enabled: The module is to run. Meaningless for always-on modules.
        forced_off: An always-on module is kept from running.

    """

    enabled: bool = False
    forced_off: bool = False


def encode(switch: Switch) -> str:
    """The record's value."""
    return msgspec.json.encode(switch).decode()


def decode(value: str) -> Switch | None:
    """Read a record's value; None (logged) where it cannot be read: then nothing is decided."""
    try:
        return msgspec.json.decode(value, type=Switch)
    except UNREADABLE as error:
        log.warning("unreadable module record", extra={"value": value, "error": str(error)})
        return None


def is_on(switch: Switch | None, *, always_on: bool, default: bool) -> bool:
    """Whether a module is to run; ``default`` says it where there is no record."""
    if switch is None:
        return always_on or default
    return not switch.forced_off if always_on else switch.enabled

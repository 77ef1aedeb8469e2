"""The stored record of the checks that modules have raised, for the next active to show."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import msgspec

from mgr.health.check import Check
from mgr.store.api import UNREADABLE

BYTES_MAX: Final = 64 << 10
"""A larger record is stored without details; the next active's modules raise them again."""

ChecksByModule = Mapping[str, tuple[Check, ...]]
"""Checks by the module that raised them."""

log = logging.getLogger(__name__)


def encode(checks_by_module: ChecksByModule) -> str:
    """Return the value of the record."""
    value = msgspec.json.encode(checks_by_module, order="deterministic")
    if len(value) > BYTES_MAX:
        bare = {
            source: tuple(replace(check, detail=()) for check in checks)
            for source, checks in checks_by_module.items()
        }
        value = msgspec.json.encode(bare, order="deterministic")
    return value.decode(errors="replace")


def decode(value: str) -> ChecksByModule:
    """Read a record's value. If it cannot be read, log that and return no checks."""
    try:
        return msgspec.json.decode(value, type=dict[str, tuple[Check, ...]])
    except UNREADABLE as error:
        log.warning("unreadable health record", extra={"error": str(error)})
        return {}

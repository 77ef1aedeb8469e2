"""What modules had raised when somebody last looked: stored, so that a successor can show it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import msgspec

from mgr.health.check import Check
from mgr.store.api import UNREADABLE

BYTES_MAX: Final = 64 << 10
"""More is stored without details: the successor's modules will tell them again."""

ChecksByModule = Mapping[str, tuple[Check, ...]]
"""Checks by the module that raised them."""

log = logging.getLogger(__name__)


def encode(checks_by_module: ChecksByModule) -> str:
    """The record's value."""
    value = msgspec.json.encode(checks_by_module, order="deterministic")
    if len(value) > BYTES_MAX:
        bare = {
            source: tuple(replace(check, detail=()) for check in checks)
            for source, checks in checks_by_module.items()
        }
        value = msgspec.json.encode(bare, order="deterministic")
    return value.decode(errors="replace")


def decode(value: str) -> ChecksByModule:
    """Read a record's value; empty (logged) where it cannot be read: then nothing is known."""
    try:
        return msgspec.json.decode(value, type=dict[str, tuple[Check, ...]])
    except UNREADABLE as error:
        log.warning("unreadable health record", extra={"error": str(error)})
        return {}

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

Raised = Mapping[str, tuple[Check, ...]]
"""Checks by the module that raised them."""

log = logging.getLogger(__name__)


def encode(raised: Raised) -> str:
    """The record's value."""
    value = msgspec.json.encode(raised, order="deterministic")
    if len(value) > BYTES_MAX:
        bare = {
            source: tuple(replace(check, detail=()) for check in checks)
            for source, checks in raised.items()
        }
        value = msgspec.json.encode(bare, order="deterministic")
    return value.decode(errors="replace")


def decode(value: str) -> Raised:
    """Read a record's value; empty (logged) where it cannot be read: then nothing is known."""
    try:
        return msgspec.json.decode(value, type=dict[str, tuple[Check, ...]])
    except UNREADABLE as error:
        log.warning("unreadable health record", extra={"error": str(error)})
        return {}

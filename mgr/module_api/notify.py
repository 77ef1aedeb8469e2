"""The kinds of notification that a module can list in its ``NOTIFY_TYPES``."""

from __future__ import annotations

from enum import Enum
from typing import Final

STORE: Final = "store"
"""Ours, not ceph-mgr's: a key that the module watches has changed. The id is the key; it is empty
if too many keys changed at once. Sent after ``watch_store``, regardless of ``NOTIFY_TYPES``."""


class NotifyType(str, Enum):  # noqa: UP042 - str() of a member prints as it does in ceph-mgr
    """A kind of notification; its value is its name."""

    mon_map = "mon_map"
    pg_summary = "pg_summary"
    health = "health"
    clog = "clog"
    osd_map = "osd_map"
    fs_map = "fs_map"
    command = "command"

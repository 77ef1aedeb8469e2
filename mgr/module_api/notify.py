"""What a module can ask to be told of, in its ``NOTIFY_TYPES``."""

from __future__ import annotations

from enum import Enum
from typing import Final

STORE: Final = "store"
"""Ours, not ceph-mgr's: a key that the module watches changed. The id is the key; empty, if more
changed than could be told one by one. Who watches is told, whatever ``NOTIFY_TYPES`` says."""


class NotifyType(str, Enum):  # noqa: UP042 - str() of a member prints as it does in ceph-mgr
    """A kind of news; its value is its name."""

    mon_map = "mon_map"
    pg_summary = "pg_summary"
    health = "health"
    clog = "clog"
    osd_map = "osd_map"
    fs_map = "fs_map"
    command = "command"

"""What a module can ask to be told of, in its ``NOTIFY_TYPES``."""

from __future__ import annotations

from enum import Enum


class NotifyType(str, Enum):  # noqa: UP042 - str() of a member prints as it does in ceph-mgr
    """A kind of news; its value is its name."""

    mon_map = "mon_map"
    pg_summary = "pg_summary"
    health = "health"
    clog = "clog"
    osd_map = "osd_map"
    fs_map = "fs_map"
    command = "command"

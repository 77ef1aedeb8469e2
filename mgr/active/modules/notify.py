"""Sends notifications about health, cluster log and maps to the modules that want them.

Each module's runner merges repeated notifications.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol

from mgr.cluster.log import ClusterLog, Entry
from mgr.cluster.maps import UNVERSIONED
from mgr.health.board import Board
from mgr.host.notifications import NotifyId
from mgr.store.mirror import KeyChange

HEALTH: Final = "health"
CLOG: Final = "clog"


class NotificationTarget(Protocol):
    """Receives notifications for the running modules."""

    def notify(self, kind: str, notify_id: NotifyId) -> None:
        """Notify every module that wants ``kind``."""
        ...


def forward_health_and_log(target: NotificationTarget, board: Board, log: ClusterLog) -> None:
    """Notify ``target`` of every change of ``board`` and every line of ``log``, from now on."""
    board.on_change(lambda: target.notify(HEALTH, ""))
    log.listen(lambda entry: target.notify(CLOG, log_entry_document(entry)))


def notify_map_changes(
    target: NotificationTarget, prefix: str, changes: Sequence[KeyChange]
) -> None:
    """Notify ``target`` of each changed map, with its version; 0 means that it was removed."""
    for change in changes:
        version = change.record.mod_revision if change.record else UNVERSIONED
        target.notify(change.key.removeprefix(prefix), version)


def log_entry_document(entry: Entry) -> dict[str, Any]:
    """Return a line of the cluster log as modules get it from ``notify('clog', ...)``."""
    return {
        "name": entry.name,
        "rank": entry.name,
        "addrs": {"addrvec": []},
        "stamp": entry.at.isoformat(),
        "seq": entry.sequence,
        "channel": entry.channel,
        "priority": f"[{entry.priority.tag}]",
        "message": entry.message,
    }

"""News to the modules that asked for it. Merging it is the business of each module's runner."""

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
    """Who is told: the running modules."""

    def notify(self, kind: str, notify_id: NotifyId) -> None:
        """Tell every module that wants ``kind``."""
        ...


def forward_health_and_log(target: NotificationTarget, board: Board, log: ClusterLog) -> None:
    """Tell ``target`` of every change of ``board`` and every line of ``log``, from now on."""
    board.on_change(lambda: target.notify(HEALTH, ""))
    log.listen(lambda entry: target.notify(CLOG, log_entry_document(entry)))


def notify_map_changes(
    target: NotificationTarget, prefix: str, changes: Sequence[KeyChange]
) -> None:
    """Tell ``target`` of maps that changed, each with its version; 0: it is gone."""
    for change in changes:
        version = change.record.mod_revision if change.record else UNVERSIONED
        target.notify(change.key.removeprefix(prefix), version)


def log_entry_document(entry: Entry) -> dict[str, Any]:
    """A line of the cluster log as ``notify('clog', ...)`` carries it."""
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

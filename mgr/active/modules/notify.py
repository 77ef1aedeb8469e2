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


class Audience(Protocol):
    """Who is told: the running modules."""

    def notify(self, kind: str, notify_id: NotifyId) -> None:
        """Tell every module that wants ``kind``."""
        ...


def announce(audience: Audience, board: Board, log: ClusterLog) -> None:
    """Tell ``audience`` of every change of ``board`` and every line of ``log``, from now on."""
    board.on_change(lambda: audience.notify(HEALTH, ""))
    log.listen(lambda entry: audience.notify(CLOG, described(entry)))


def announce_maps(audience: Audience, prefix: str, changes: Sequence[KeyChange]) -> None:
    """Tell ``audience`` of maps that changed, each with its version; 0: it is gone."""
    for change in changes:
        version = change.record.mod_revision if change.record else UNVERSIONED
        audience.notify(change.key.removeprefix(prefix), version)


def described(entry: Entry) -> dict[str, Any]:
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

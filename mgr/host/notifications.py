"""Queue of notifications for one module, and their delivery. Bounded; repeats are merged."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping
from typing import Any, Final

from mgr.host.crash import CrashOrigin
from mgr.module_api.notify import STORE

CLOG: Final = "clog"
"""Kind of the cluster log's notifications, which crash reports list separately."""
ENTRIES_MAX: Final = 256
"""Most log entries in the queue; then the oldest is dropped."""
TAGS_MAX: Final = 256
"""Most tags (finished commands and the like) in the queue; then the oldest is dropped."""
KEYS_MAX: Final = 256
"""Most changed keys in the queue; more are merged into one notification with an empty key."""

log = logging.getLogger(__name__)

NotifyId = str | int | Mapping[str, Any]
"""A text is a tag. A number is a version: only the last one is kept. A mapping is a log entry."""


class NotificationQueue:
    """Notifications that were not yet delivered to one module. Use it on the loop only."""

    def __init__(self) -> None:
        """Begin with an empty queue."""
        self._config = False
        # A dictionary for its order: the same kind and id again changes nothing.
        self._kinds: dict[tuple[str, str], None] = {}
        self._versions: dict[str, int] = {}
        self._keys: dict[str, None] = {}
        self._entries: deque[tuple[str, Mapping[str, Any]]] = deque(maxlen=ENTRIES_MAX)
        self.dropped = 0
        """Notifications that were lost because the module did not keep up."""

    def __bool__(self) -> bool:
        return bool(self._config or self._kinds or self._versions or self._keys or self._entries)

    def add(self, kind: str, notify_id: NotifyId) -> None:
        """Queue one notification."""
        if isinstance(notify_id, int):
            self._versions[kind] = notify_id
            return
        if isinstance(notify_id, str):
            if len(self._kinds) >= TAGS_MAX and (kind, notify_id) not in self._kinds:
                del self._kinds[next(iter(self._kinds))]
                self.dropped += 1
            self._kinds[kind, notify_id] = None
            return
        if len(self._entries) == self._entries.maxlen:
            self.dropped += 1
        self._entries.append((kind, notify_id))

    def add_key(self, key: str) -> None:
        """Queue that a watched key changed. None is lost: too many are merged into one."""
        if "" in self._keys:
            return
        self._keys[key] = None
        if len(self._keys) > KEYS_MAX:
            self._keys = {"": None}

    def add_config(self) -> None:
        """Queue that options changed."""
        self._config = True

    def take(self) -> tuple[bool, list[tuple[str, NotifyId]]]:
        """Empty the queue; return whether options changed, and the other notifications."""
        config, self._config = self._config, False
        keys = [(STORE, key) for key in self._keys]
        notifications: list[tuple[str, NotifyId]] = [
            *self._kinds,
            *self._versions.items(),
            *keys,
            *self._entries,
        ]
        self._kinds.clear()
        self._versions.clear()
        self._keys.clear()
        self._entries.clear()
        return config, notifications


def deliver_batch(
    instance: Any,
    config: bool,  # noqa: FBT001 - runs as a closure
    notifications: list[tuple[str, NotifyId]],
) -> list[tuple[CrashOrigin, BaseException]]:
    """Deliver one batch of notifications, on the module's thread, even if some of them raise.

    Returns the exceptions raised. A ``config_notify`` that raises is not a crash, as in Ceph.
    """
    if config:
        try:
            instance._config_notify()  # noqa: SLF001 - Ceph's name
        except BaseException:  # noqa: BLE001 - the module's code, which may even exit
            _log_of(instance).exception("config_notify raised")
    raised: list[tuple[CrashOrigin, BaseException]] = []
    for kind, notify_id in notifications:
        try:
            instance.notify(kind, notify_id)
        except BaseException as error:  # noqa: BLE001 - as above
            _log_of(instance).exception("notify raised for %s", kind)
            raised.append((CrashOrigin.NOTIFY_CLOG if kind == CLOG else CrashOrigin.NOTIFY, error))
    return raised


def _log_of(instance: Any) -> logging.Logger:
    """Return the module's logger; it has none if its constructor did not call Ceph's."""
    try:
        found: logging.Logger = instance.log
    except Exception:  # noqa: BLE001 - the module's code
        return log
    return found

"""Progress: modules report long operations, and operators see their progress and recent ones.

A module reports with ``self.remote("progress", "update", ...)``, as Ceph's modules do, or with
``update_progress_event``; both are shown. Events in progress are lost when the manager stops; ended
ones are stored. No ``from __future__ import annotations`` here: commands are derived from
annotations.
"""

import json
import threading
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from mgr_module import CLICommand, CLIReadCommand, HandleCommandResult, MgrModule, Option

from .event import Event, format_completed, format_running, from_document

COMPLETED = "completed"
"""Key of the ended events."""
VERSION = 2
"""Version of the stored format: Ceph's progress module reads and writes the same."""


class Module(MgrModule):
    """Collects events that other modules report; nothing runs in the background."""

    EFFECTS = "store"
    MODULE_OPTIONS = [  # noqa: RUF012 - the host appends to it, as to every module's
        Option(
            "enabled", type="bool", default=True, runtime=True, desc="Accept events from modules"
        ),
        Option(
            "max_completed_events",
            type="int",
            default=50,
            min=0,
            max=1000,
            runtime=True,
            desc="How many ended events are stored",
        ),
    ]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Load the events that ended under earlier managers."""
        super().__init__(*args, **kwargs)
        # Other modules call update() and the like on their own threads.
        self._lock = threading.Lock()
        self._events: dict[str, Event] = {}
        self._completed = self._load()

    # -- commands ---------------------------------------------------------------------------

    @CLIReadCommand("progress")
    def show(self) -> HandleCommandResult:
        """Show progress of what takes long."""
        now = _now()
        running, completed = self._current_events(now)
        lines = [line for event in running for line in format_running(event, now)]
        if completed:
            lines += [
                "",
                "Completed:",
                *(f"  {format_completed(event)}" for event in reversed(completed)),
            ]
        return HandleCommandResult(stdout="\n".join(lines).strip("\n") or "Nothing in progress")

    @CLIReadCommand("progress json")
    def show_json(self) -> HandleCommandResult:
        """Show machine readable progress information."""
        return HandleCommandResult(stdout=json.dumps(self.get_progress(), indent=4))

    @CLICommand("progress clear", perm="rw", idempotent=True)
    def clear(self) -> HandleCommandResult:
        """Reset progress tracking."""
        with self._lock:
            # Under the lock: an event that ends meanwhile is stored after this, not deleted by it.
            self.set_store(COMPLETED, None)
            self._events.clear()
            self._completed = []
        self.clear_all_progress_events()
        return HandleCommandResult(stderr="Progress tracking is reset")

    @CLICommand("progress on", perm="rw", idempotent=True)
    def on(self) -> HandleCommandResult:
        """Enable progress tracking."""
        self.set_module_option("enabled", True)  # noqa: FBT003 - the value
        return HandleCommandResult(stderr="progress enabled")

    @CLICommand("progress off", perm="rw", idempotent=True)
    def off(self) -> HandleCommandResult:
        """Disable progress tracking."""
        self.set_module_option("enabled", False)  # noqa: FBT003 - the value
        with self._lock:
            known = list(self._events)
            self._events.clear()
        for evid in known:
            self.complete_progress_event(evid)
        return HandleCommandResult(stderr="progress disabled")

    # -- for other modules ------------------------------------------------------------------

    def update(
        self,
        ev_id: str,
        ev_msg: str,
        ev_progress: float,
        refs: list[str] | None = None,
        add_to_ceph_s: bool = False,  # noqa: FBT001, FBT002 - Ceph's signature
    ) -> None:
        """Report the progress of ``ev_id``, from 0 to 1; a new id creates an event."""
        if not self.get_module_option("enabled"):
            return
        with self._lock:
            event = self._events.get(ev_id) or Event(
                ev_id, ev_msg, _now(), refs=tuple(refs or ()), add_to_ceph_s=add_to_ceph_s
            )
            event = self._events[ev_id] = event.with_progress(ev_msg, ev_progress)
        self.update_progress_event(ev_id, event.message, event.progress, event.add_to_ceph_s)

    def complete(self, ev_id: str) -> None:
        """End an event as completed."""
        self._end(ev_id, None)

    def fail(self, ev_id: str, message: str) -> None:
        """End an event as failed; ``message`` is the reason."""
        self._end(ev_id, message)

    def get_progress(self) -> dict[str, list[dict[str, Any]]]:
        """Return the running and the ended events, as ``progress json`` shows them."""
        now = _now()
        running, completed = self._current_events(now)
        return {
            "events": [event.as_document(now) for event in running],
            "completed": [event.as_document(now) for event in completed],
        }

    # -- inside -----------------------------------------------------------------------------

    def _current_events(self, now: float) -> tuple[list[Event], list[Event]]:
        """Return own events and, from ``status``, those reported to the manager; and ended ones."""
        with self._lock:
            own, completed = dict(self._events), list(self._completed)
        status = self.mon_command({"prefix": "status", "format": "json"})
        shown = json.loads(status.stdout or "{}").get("progress_events", {})
        foreign = [
            Event(evid, each["message"], now, each["progress"], (), each["add_to_ceph_s"])
            for evid, each in shown.items()
            if evid not in own
        ]
        return [*own.values(), *foreign], completed

    def _end(self, ev_id: str, failure: str | None) -> None:
        with self._lock:
            event = self._events.pop(ev_id, None)
            if event is None:
                self.log.warning("progress event %s is unknown: nothing to end", ev_id)
                return
            keep = int(self.get_module_option("max_completed_events"))
            ended = [*self._completed, event.with_end(_now(), failure)]
            self._completed = ended[len(ended) - min(keep, len(ended)) :]
            self._store(self._completed)
        self.complete_progress_event(ev_id)

    def _store(self, events: Iterable[Event]) -> None:
        documents = [event.as_document(0) for event in events]
        stored = {"events": documents, "version": VERSION, "compat_version": VERSION}
        self.set_store(COMPLETED, json.dumps(stored))

    def _load(self) -> list[Event]:
        try:
            stored = json.loads(self.get_store(COMPLETED) or "{}")
            return [from_document(each) for each in stored.get("events", ())]
        except (ValueError, TypeError, AttributeError) as error:
            self.log.warning("stored progress events cannot be read: ignored: %s", error)
            return []


def _now() -> float:
    return datetime.now(UTC).timestamp()

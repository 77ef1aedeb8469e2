"""Progress: modules report what takes long, operators see how far it is and what was done lately.

A module reports by ``self.remote("progress", "update", ...)``, as Ceph's modules do, or with
``update_progress_event``; both are shown. What is under way ends with its manager; what is over
is stored. No ``from __future__ import annotations`` here: commands are derived from annotations.
"""

import json
import threading
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from mgr_module import CLICommand, CLIReadCommand, HandleCommandResult, MgrModule, Option

from .event import Event, format_completed, format_running, from_document

COMPLETED = "completed"
"""Key of the events that are over."""
VERSION = 2
"""Of what is stored there: Ceph's progress module reads and writes the same."""


class Module(MgrModule):
    """Keeps events that other modules report; nothing runs in the background."""

    EFFECTS = "store"
    MODULE_OPTIONS = [  # noqa: RUF012 - the host appends to it, as to every module's
        Option("enabled", type="bool", default=True, runtime=True, desc="Take reports"),
        Option(
            "max_completed_events",
            type="int",
            default=50,
            min=0,
            max=1000,
            runtime=True,
            desc="How many events that are over are remembered",
        ),
    ]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Remember what earlier managers completed."""
        super().__init__(*args, **kwargs)
        # Calls of other modules come on their own threads.
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
            # Under the lock: what ends meanwhile is stored after it, not deleted by it.
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
        """Say how far ``ev_id`` is, from 0 to 1; a new id begins an event."""
        if not self.get_module_option("enabled"):
            return
        with self._lock:
            event = self._events.get(ev_id) or Event(
                ev_id, ev_msg, _now(), refs=tuple(refs or ()), add_to_ceph_s=add_to_ceph_s
            )
            event = self._events[ev_id] = event.with_progress(ev_msg, ev_progress)
        self.update_progress_event(ev_id, event.message, event.progress, event.add_to_ceph_s)

    def complete(self, ev_id: str) -> None:
        """The event is done."""
        self._end(ev_id, None)

    def fail(self, ev_id: str, message: str) -> None:
        """The event will not be done; ``message`` says why."""
        self._end(ev_id, message)

    def get_progress(self) -> dict[str, list[dict[str, Any]]]:
        """What is under way and what is over, as ``progress json`` shows it."""
        now = _now()
        running, completed = self._current_events(now)
        return {
            "events": [event.as_document(now) for event in running],
            "completed": [event.as_document(now) for event in completed],
        }

    # -- inside -----------------------------------------------------------------------------

    def _current_events(self, now: float) -> tuple[list[Event], list[Event]]:
        """Own events and, from ``status``, those that modules reported to the manager itself."""
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
                self.log.warning("event %s is not known: nothing to end", ev_id)
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
            self.log.warning("what was completed cannot be read and is forgotten: %s", error)
            return []


def _now() -> float:
    return datetime.now(UTC).timestamp()

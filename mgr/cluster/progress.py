"""Progress events of long operations, reported by modules and shown by ``status``.

They are kept in memory for the current term.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

EVENTS_MAX: Final = 1000
"""Limit of events, so that a module that never completes one cannot fill the memory."""
BAR_WIDTH: Final = 30


@dataclass(frozen=True, slots=True)
class ProgressEvent:
    """One operation in progress.

    Attributes:
        message: Description for people.
        progress: The fraction that is done, from 0 to 1.
        shown: Whether ``status`` shows it to people; programs see every event.
        source: The module that reported it last.

    """

    message: str
    progress: float
    shown: bool
    source: str

    def bar(self) -> str:
        """Return the progress as a bar of characters."""
        done = round(BAR_WIDTH * self.progress)
        return f"[{'=' * done}{'.' * (BAR_WIDTH - done)}]"


class Progress:
    """The events of all modules, by id. Only the event loop uses it."""

    def __init__(self) -> None:
        """Begin without events."""
        self._events: dict[str, ProgressEvent] = {}

    @property
    def events(self) -> Mapping[str, ProgressEvent]:
        """The events, in the order in which they began."""
        return self._events

    def update(self, evid: str, event: ProgressEvent) -> None:
        """Add or replace an event. Above ``EVENTS_MAX`` the oldest event is dropped."""
        if evid not in self._events and len(self._events) >= EVENTS_MAX:
            del self._events[next(iter(self._events))]
        self._events[evid] = event

    def complete(self, evid: str) -> None:
        """Remove an event that is done; an unknown id is ignored."""
        self._events.pop(evid, None)

    def clear(self) -> None:
        """Remove all events."""
        self._events.clear()

    def drop(self, source: str) -> None:
        """Remove the events of module ``source``, which stopped and will not complete them."""
        self._events = {
            evid: event for evid, event in self._events.items() if event.source != source
        }

    def as_document(self) -> dict[str, Any]:
        """Return the events as ``status`` lists them, in Ceph's format."""
        return {
            evid: {
                "message": event.message,
                "progress": event.progress,
                "add_to_ceph_s": event.shown,
            }
            for evid, event in self._events.items()
        }

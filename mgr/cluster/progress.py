"""What takes long, as modules report it: shown in ``status``. Lives with the term."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

EVENTS_MAX: Final = 1000
"""Events at a time; a module that never completes one cannot fill the memory."""
BAR_WIDTH: Final = 30


@dataclass(frozen=True, slots=True)
class ProgressEvent:
    """One thing under way.

    Attributes:
        message: What it is, for people.
        progress: How much of it is done, from 0 to 1.
        shown: Whether ``status`` shows it to people; programs see every event.
        source: The module that reported it last.

    """

    message: str
    progress: float
    shown: bool
    source: str

    def bar(self) -> str:
        """How far it is, as a line of characters."""
        done = round(BAR_WIDTH * self.progress)
        return f"[{'=' * done}{'.' * (BAR_WIDTH - done)}]"


class Progress:
    """Every event, by its id, whichever module reports it. Only the event loop touches it."""

    def __init__(self) -> None:
        """Begin with nothing under way."""
        self._events: dict[str, ProgressEvent] = {}

    @property
    def events(self) -> Mapping[str, ProgressEvent]:
        """What is under way, in the order in which it began."""
        return self._events

    def update(self, evid: str, event: ProgressEvent) -> None:
        """Note how far it is. Above ``EVENTS_MAX`` the oldest event is forgotten."""
        if evid not in self._events and len(self._events) >= EVENTS_MAX:
            del self._events[next(iter(self._events))]
        self._events[evid] = event

    def complete(self, evid: str) -> None:
        """Forget it: it is done. No error where it is not known."""
        self._events.pop(evid, None)

    def clear(self) -> None:
        """Forget all of them."""
        self._events.clear()

    def drop(self, source: str) -> None:
        """Forget what ``source`` reported: its module stopped and will complete nothing."""
        kept = {evid: event for evid, event in self._events.items() if event.source != source}
        self._events = kept

    def as_document(self) -> dict[str, Any]:
        """The events as ``status`` lists them, in Ceph's shape."""
        return {
            evid: {
                "message": event.message,
                "progress": event.progress,
                "add_to_ceph_s": event.shown,
            }
            for evid, event in self._events.items()
        }

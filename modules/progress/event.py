"""One progress event and its formatting. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import Any

BAR_WIDTH = 30


@dataclass(frozen=True)
class Event:
    """One long operation, in progress or ended. Times are seconds since 1970.

    Attributes:
        id: Chosen by the module that reports it.
        refs: What it is about, for programs.
        add_to_ceph_s: Whether ``status`` shows it.
        finished_at: 0 while it is in progress.
        failure_message: Why it failed, if it did.

    """

    id: str
    message: str
    started_at: float
    progress: float = 0.0
    refs: tuple[str, ...] = ()
    add_to_ceph_s: bool = False
    finished_at: float = 0.0
    failed: bool = False
    failure_message: str = ""

    def with_progress(self, message: str, progress: float) -> Event:
        """Return the event with new progress."""
        return replace(self, message=message, progress=min(max(progress, 0.0), 1.0))

    def with_end(self, at: float, failure: str | None = None) -> Event:
        """Return the event as completed; or as failed, if ``failure`` is the reason."""
        if failure is None:
            return replace(self, progress=1.0, finished_at=at)
        return replace(self, finished_at=at, failed=True, failure_message=failure)

    def duration_s(self, now: float) -> float:
        """Return the seconds from its start to its end, or to ``now``."""
        return max(0.0, (self.finished_at or now) - self.started_at)

    def as_document(self, now: float) -> dict[str, Any]:
        """Return the event in Ceph's format, for programs."""
        return {**asdict(self), "refs": list(self.refs), "duration": round(self.duration_s(now), 3)}


def from_document(document: dict[str, Any]) -> Event:
    """Make an event from the result of ``as_document``."""
    known = {name: document[name] for name in Event.__dataclass_fields__ if name in document}
    return Event(**{**known, "refs": tuple(known.get("refs", ()))})


def format_running(event: Event, now: float) -> list[str]:
    """Format two lines: message, duration so far, progress bar, and estimated time left."""
    duration_s = event.duration_s(now)
    done = round(BAR_WIDTH * event.progress)
    bar = f"[{'=' * done}{'.' * (BAR_WIDTH - done)}]"
    left = (
        f" (remaining: {_span(duration_s / event.progress - duration_s)})" if event.progress else ""
    )
    return [f"{event.message} ({_span(duration_s)})", f"    {bar}{left}"]


def format_completed(event: Event) -> str:
    """Format an ended event as one line."""
    text = f"[{_span(event.duration_s(0))}] {event.message}"
    return f"{text}: {event.failure_message}" if event.failed else text


def _span(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))

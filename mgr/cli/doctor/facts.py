"""The facts that ``mgrctl doctor`` collects about a cluster, and the findings it reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from mgr.client.messages import Status

Severity = Literal["note", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, and what to do about it."""

    severity: Severity
    subject: str
    text: str
    advice: str

    def line(self) -> str:
        """Return the finding as one line."""
        return f"{self.severity.upper():8}{self.subject}: {self.text} -> {self.advice}"


@dataclass(frozen=True, slots=True)
class Sample:
    """One answer of a manager about itself; times are of this machine's own clock.

    Attributes:
        wall_s: This machine's wall time when the answer came, in seconds since 1970.

    """

    status: Status
    asked_s: float
    answered_s: float
    wall_s: float

    @property
    def latency_s(self) -> float:
        """How long the answer took."""
        return self.answered_s - self.asked_s


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate and what presents it; ``error`` is why it could not be read."""

    subject: str
    ends_at: datetime | None = None
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known about the cluster.

    Attributes:
        samples: The answers of each manager by address, in order; the reason if it gave none.
        documents: The JSON of each command by its words; the reason, as text, if it gave none.
        client_version: The version of this mgrctl.
        now: Wall time.

    """

    samples: Mapping[str, list[Sample] | str]
    documents: Mapping[str, Any] = field(default_factory=dict)
    certificates: tuple[Certificate, ...] = ()
    client_version: str = ""
    now: datetime

    @property
    def answered(self) -> dict[str, list[Sample]]:
        """The managers that answered."""
        return {at: each for at, each in self.samples.items() if not isinstance(each, str)}

    @property
    def latest(self) -> dict[str, Status]:
        """The newest state of each manager that answered."""
        return {at: each[-1].status for at, each in self.answered.items()}

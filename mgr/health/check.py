"""A health check: a problem that operators should see, under a code that never changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from mgr.text import one_line

COUNT_MAX: Final = 2**63 - 1
"""The largest count, as Ceph's."""


class Severity(IntEnum):
    """How severe a check is; the worst unmuted check is the state of the cluster."""

    OK = 0
    WARN = 1
    ERR = 2

    def __str__(self) -> str:
        return f"HEALTH_{self.name}"

    @property
    def tag(self) -> str:
        """The abbreviation that ``health detail`` prints."""
        return {0: "OK", 1: "WRN", 2: "ERR"}[self.value]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One raised check.

    Attributes:
        code: The name of the check, upper case; operators mute it and look it up by this name.
        summary: One line.
        count: How many things are affected; 0 if counting makes no sense.
        detail: One line for each thing affected.

    """

    code: str
    severity: Severity
    summary: str
    count: int = 0
    detail: tuple[str, ...] = ()

    @classmethod
    def from_module(cls, code: str, fields: Mapping[str, Any]) -> Check:
        """Make a check from the fields that a module passed to ``set_health_checks``.

        An unknown severity counts as a warning: a misspelt check must not be lost. All texts of
        the result can be stored.
        """
        detail = fields.get("detail")
        count = fields.get("count")
        return cls(
            code=_storable(code),
            severity=Severity.ERR if fields.get("severity") == "error" else Severity.WARN,
            summary=_storable(fields.get("summary", "")),
            # int(): True is an int in Python, but would be stored as a JSON boolean.
            # In 64 bits, as Ceph's: what has more digits than Python prints cannot be stored.
            count=min(max(int(count), -COUNT_MAX), COUNT_MAX) if isinstance(count, int) else 0,
            detail=tuple(map(_storable, detail)) if isinstance(detail, list | tuple) else (),
        )

    def merged_with(self, other: Check) -> Check:
        """Merge with the same code from another source: counts are added, details appended.

        Severity and summary are those of this check.
        """
        return Check(
            code=self.code,
            severity=self.severity,
            summary=self.summary,
            count=self.count + other.count,
            detail=self.detail + other.detail,
        )


def _storable(text: object) -> str:
    """Escape control characters and line ends, and what cannot be encoded as UTF-8."""
    return one_line(str(text))

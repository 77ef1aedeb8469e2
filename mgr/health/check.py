"""One health check: something an operator should know, under a code that never changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any


class Severity(IntEnum):
    """How bad; the worst unmuted check decides the state of the cluster."""

    OK = 0
    WARN = 1
    ERR = 2

    def __str__(self) -> str:
        return f"HEALTH_{self.name}"

    @property
    def tag(self) -> str:
        """The three letters of ``health detail``."""
        return {0: "OK", 1: "WRN", 2: "ERR"}[self.value]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One raised check.

    Attributes:
        code: Its name, upper case: what is muted and looked up.
        summary: One line.
        count: How many things are affected; 0 where counting makes no sense.
        detail: One line for each of them.

    """

    code: str
    severity: Severity
    summary: str
    count: int = 0
    detail: tuple[str, ...] = ()

    @classmethod
    def from_module(cls, code: str, fields: Mapping[str, Any]) -> Check:
        """Read what a module passed to ``set_health_checks``; it is text that can be stored.

        A severity that is neither ``warning`` nor ``error`` is taken as a warning: a check that
        somebody raised must not vanish for a spelling.
        """
        detail = fields.get("detail")
        count = fields.get("count")
        return cls(
            code=_storable(code),
            severity=Severity.ERR if fields.get("severity") == "error" else Severity.WARN,
            summary=_storable(fields.get("summary", "")),
            # True is an int to Python, and another thing in the record.
            count=int(count) if isinstance(count, int) else 0,
            detail=tuple(map(_storable, detail)) if isinstance(detail, list | tuple) else (),
        )

    def merged_with(self, other: Check) -> Check:
        """The same code from a second source: details follow, counts add, the first words it."""
        return Check(
            code=self.code,
            severity=self.severity,
            summary=self.summary,
            count=self.count + other.count,
            detail=self.detail + other.detail,
        )


def _storable(text: object) -> str:
    """``text`` with what is no UTF-8 escaped: a file's name, for one, may hold lone surrogates."""
    return str(text).encode(errors="backslashreplace").decode()

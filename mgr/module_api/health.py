"""Validates the health checks that a module sets, so that later code can rely on their shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

HealthChecksT = Mapping[str, Mapping[str, int | str | Sequence[str]]]

_FIELDS: Final[Mapping[str, type]] = {
    "severity": str,
    "summary": str,
    "count": int,
    "detail": list,
}


def clean_checks(
    checks: Mapping[Any, Any], log_error: Callable[[str], object]
) -> dict[str, dict[str, Any]]:
    """Return the checks whose code is a text, each with its valid fields.

    Unknown fields, fields of the wrong type, and lines of detail that are not text are left out,
    and an error is logged for each. The rest of the check stays.
    """
    result: dict[str, dict[str, Any]] = {}
    for code, check in checks.items():
        if isinstance(code, str) and isinstance(check, Mapping):
            result[code] = _clean_check(code, check, log_error)
        else:
            log_error(f"health check {code!r} is no dictionary under a text: left out")
    return result


def _clean_check(
    code: str, check: Mapping[Any, Any], log_error: Callable[[str], object]
) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in check.items():
        wanted = _FIELDS.get(name)
        if wanted is None:
            log_error(f"health check {code}: unexpected field {name!r}")
        elif not isinstance(value, wanted):
            log_error(f"health check {code}: {name} is no {wanted.__name__}: {value!r}")
        else:
            fields[name] = value
    if "detail" in fields:
        lines = fields["detail"]
        fields["detail"] = [line for line in lines if isinstance(line, str)]
        if len(fields["detail"]) != len(lines):
            log_error(f"health check {code}: detail holds what is no text")
    return fields

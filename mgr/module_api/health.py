"""What a module says of its health, cleaned: the shape is certain once it leaves the module."""

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
    """Return the checks whose code is text, each with those of its fields that can be meant.

    A field of the wrong type, an unknown one, a line of detail that is no text: left out, and
    complained of one by one. The rest of the check stands.
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

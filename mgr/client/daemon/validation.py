"""Checks of a program's values at the call that sets them.

The rules are the manager's (``mgr.report_limits``), which would end the whole stream for an invalid
value. Checked here, the error is raised in the line of code that caused it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mgr.errors import InvalidArgumentError
from mgr.report_limits import (
    DESCRIPTION_MAX,
    ID_MAX,
    METRIC,
    OUR_CHECKS,
    RESERVED,
    TEXT_MAX,
    TEXTS_BYTES_MAX,
    is_metric,
    is_name,
    is_printable,
    is_text,
)

PRIORITY_MAX: Final = 10
VALUE_MAX: Final = (1 << 64) - 1
"""Of a health metric."""


def check_name(kind: str, ident: str) -> None:
    """Raise InvalidArgumentError unless a daemon may be called ``<kind>.<ident>``."""
    if not is_name(kind, ident):
        raise InvalidArgumentError(
            f"invalid daemon name {kind}.{ident}: a type is at most 64 letters, digits, '_' and "
            f"'-', not {RESERVED!r}; an id is at most {ID_MAX} printable characters without "
            "blanks and slashes"
        )


def check_text(what: str, text: Any) -> None:
    """Raise InvalidArgumentError unless ``text`` is one short printable line."""
    if not isinstance(text, str) or not is_text(text):
        raise InvalidArgumentError(
            f"{what} {_quoted(text)}: use a text of at most {TEXT_MAX} printable characters"
        )


def check_description(what: str, text: Any) -> None:
    """Raise InvalidArgumentError if ``text`` is too long or cannot be encoded."""
    if not isinstance(text, str) or len(text) > DESCRIPTION_MAX or not is_encodable(text):
        raise InvalidArgumentError(
            f"{what} {_quoted(text)}: use a text of at most {DESCRIPTION_MAX} characters"
        )


def bytes_of(what: str, name: str, text: str) -> int:
    """Return how many bytes of ``TEXTS_BYTES_MAX`` the two take; raise if one is not printable."""
    if not is_printable(name) or not is_printable(text):
        # A lone surrogate is not printable either, so the two can be encoded below.
        raise InvalidArgumentError(
            f"{what} {_quoted(name)}: {_quoted(text)} holds control characters "
            "other than tabs and line ends"
        )
    return len(name.encode()) + len(text.encode())


def check_bytes(what: str, count: int) -> None:
    """Raise InvalidArgumentError if names and texts take more than ``TEXTS_BYTES_MAX``."""
    if count > TEXTS_BYTES_MAX:
        raise InvalidArgumentError(
            f"{what}: {count} bytes of names and texts, use at most {TEXTS_BYTES_MAX}"
        )


def check_metadata(metadata: Mapping[str, str]) -> None:
    """Raise InvalidArgumentError if ``metadata`` is too large or not printable."""
    check_bytes("metadata", sum(bytes_of("metadata", *pair) for pair in metadata.items()))


def metric_value(kind: str, value: Any) -> int:
    """Return the value of a health metric as an int; raise if type or value is invalid."""
    if not is_metric(kind):
        raise InvalidArgumentError(
            f"health metric {_quoted(kind)}: use a type that matches {METRIC.pattern} and does "
            f"not begin with {OUR_CHECKS}"
        )
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        number = -1
    if not 0 <= number <= VALUE_MAX:
        raise InvalidArgumentError(
            f"health metric {kind}: use a value from 0 to 2**64 - 1, not {_quoted(value)}"
        )
    return number


def check_priority(what: str, priority: Any) -> None:
    """Raise InvalidArgumentError unless ``priority`` is an integer from 0 to 10."""
    if not isinstance(priority, int) or not 0 <= priority <= PRIORITY_MAX:
        raise InvalidArgumentError(
            f"{what}: use a priority from 0 to {PRIORITY_MAX}, not {_quoted(priority)}"
        )


def is_encodable(text: str) -> bool:
    """Whether ``text`` can be sent: a lone surrogate has no UTF-8 encoding."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _quoted(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= 80 else f"{text[:60]}... ({len(text)} characters)"

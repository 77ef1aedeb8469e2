"""What a program may say, refused where it is said: the manager would end the whole stream for it.

The rules are the manager's (``mgr.report_limits``); so the error meets its author, and nobody else.
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
    """See that a daemon may be called ``<kind>.<ident>``."""
    if not is_name(kind, ident):
        raise InvalidArgumentError(
            f"no daemon can be called {kind}.{ident}: a type is letters, digits, '_' and '-', at "
            f"most 64 of them, not {RESERVED!r}; an id at most {ID_MAX} printable characters "
            "without blanks and slashes"
        )


def check_text(what: str, text: Any) -> None:
    """See that ``text`` is one short line."""
    if not isinstance(text, str) or not is_text(text):
        raise InvalidArgumentError(
            f"{what} {_quoted(text)}: use a text of at most {TEXT_MAX} printable characters"
        )


def check_description(what: str, text: Any) -> None:
    """See that ``text`` can be sent, and is no book."""
    if not isinstance(text, str) or len(text) > DESCRIPTION_MAX or not is_encodable(text):
        raise InvalidArgumentError(
            f"{what} {_quoted(text)}: use a text of at most {DESCRIPTION_MAX} characters"
        )


def bytes_of(what: str, name: str, text: str) -> int:
    """How much of ``TEXTS_BYTES_MAX`` the two take; see that they can be printed."""
    if not is_printable(name) or not is_printable(text):
        # Half of a surrogate pair is none: so what passes can be encoded.
        raise InvalidArgumentError(
            f"{what} {_quoted(name)}: {_quoted(text)} holds control characters "
            "other than tabs and ends of lines"
        )
    return len(name.encode()) + len(text.encode())


def check_bytes(what: str, count: int) -> None:
    """See that names and texts together are not too much."""
    if count > TEXTS_BYTES_MAX:
        raise InvalidArgumentError(
            f"{what}: {count} bytes of names and texts, at most {TEXTS_BYTES_MAX} are taken"
        )


def check_metadata(metadata: Mapping[str, str]) -> None:
    """See that it is small and can be printed."""
    check_bytes("metadata", sum(bytes_of("metadata", *pair) for pair in metadata.items()))


def metric_value(kind: str, value: Any) -> int:
    """The value of a health metric, if both can be."""
    if not is_metric(kind):
        raise InvalidArgumentError(
            f"health metric {_quoted(kind)}: its type is {METRIC.pattern}, not {OUR_CHECKS}..."
        )
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        number = -1
    if not 0 <= number <= VALUE_MAX:
        raise InvalidArgumentError(
            f"health metric {kind}: its value is from 0 to 2**64 - 1, not {_quoted(value)}"
        )
    return number


def check_priority(what: str, priority: Any) -> None:
    """See that it is one."""
    if not isinstance(priority, int) or not 0 <= priority <= PRIORITY_MAX:
        raise InvalidArgumentError(
            f"{what}: a priority is from 0 to {PRIORITY_MAX}, not {_quoted(priority)}"
        )


def is_encodable(text: str) -> bool:
    """Whether it can be sent at all: a lone half of a surrogate pair cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _quoted(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= 80 else f"{text[:60]}... ({len(text)} characters)"

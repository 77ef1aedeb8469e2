"""Makes text of foreign code fit to be sent: handlers may return and raise anything."""

from __future__ import annotations

import traceback


def encodable(text: str) -> str:
    """Return ``text`` with every character escaped that UTF-8 cannot encode."""
    if text.isascii():
        return text
    return text.encode(errors="backslashreplace").decode()


def traceback_of(error: BaseException) -> str:
    """Return the traceback of ``error`` as text; never raises, though ``error``'s code may."""
    try:
        return "".join(traceback.format_exception(error))
    except Exception as second:  # noqa: BLE001 - an exception may not even be printable
        return f"{type(error).__name__}: Error processing exception object: {type(second).__name__}"

"""Makes text of foreign code and of clients fit to be sent, logged and shown."""

from __future__ import annotations

import contextlib
import re
import traceback
from typing import Final

TRACEBACK_CHARS_MAX: Final = 100_000
"""Characters of a traceback that are shown: its end, which has the exception."""
_KEPT: Final = "_mgr_traceback"
_KEPT_TYPE: Final = "_mgr_type_name"
ERROR_TEXT_MAX: Final = 2000
"""Characters of the text of an exception that are shown and kept."""
_CONTROL: Final = (
    r"\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f"
    r"\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e0fff"
)
"""Characters that command a terminal, change the direction of text or cannot be seen; without the
tab and the line feed. The joiners U+200C and U+200D are not among them: scripts need them."""
_IN_TEXT: Final = re.compile(f"[{_CONTROL}]")
_IN_LINE: Final = re.compile(rf"[\t\n{_CONTROL}]")
_COLOUR_OR_CONTROL: Final = re.compile(
    rf"(?P<colour>\x1b\[(?:[014]|(?:[01];)?3[0-7])?m)|[{_CONTROL}]"
)
"""Bold, underlined and coloured text, as modules write it; then what ``_IN_TEXT`` finds."""


def encodable(text: str) -> str:
    """Return ``text`` with every character escaped that UTF-8 cannot encode."""
    if text.isascii():
        return text
    return text.encode(errors="backslashreplace").decode()


def one_line(text: str) -> str:
    r"""Return ``text`` with every control character escaped, line ends included: ``\x1b``, ``\n``.

    What a client sent can then neither command a terminal nor pretend to be another line.
    """
    return text if text.isascii() and text.isprintable() else _IN_LINE.sub(_escape, text)


def printable(text: str) -> str:
    """Return ``text`` with control characters escaped, except tabs and line feeds."""
    return text if text.isascii() and text.isprintable() else _IN_TEXT.sub(_escape, text)


def for_terminal(text: str) -> str:
    """Return ``text`` as it may be written to a terminal: ``printable``, with plain colours."""
    return printable(text) if "\x1b" not in text else _COLOUR_OR_CONTROL.sub(_colour, text)


def shortened(text: str, chars_max: int) -> str:
    """Return ``text`` as one line of about ``chars_max`` characters at most, for an error text."""
    return one_line(text if len(text) <= chars_max else f"{text[:chars_max]}…")


def error_text(error: BaseException) -> str:
    """Return the text of ``error``, cut, or its type if it has none.

    Never raises, though ``error``'s code may: it may be an exception of a module.
    """
    kind = type(error).__name__
    try:
        text = str(error)
    except BaseException as second:  # noqa: BLE001 - it ends nothing here
        return f"{kind}, whose text raises {type(second).__name__}"
    return (text if len(text) <= ERROR_TEXT_MAX else f"{text[:ERROR_TEXT_MAX]}…") or kind


def typed_error_text(error: BaseException) -> str:
    """Return the same with the type in front, as a traceback ends."""
    return f"{type(error).__name__}: {error_text(error)}"


def keep_traceback(error: BaseException) -> None:
    """Have ``traceback_of`` return what the traceback is now, without calling ``error``'s code.

    To be called on the thread that may run such code: it may take long, as any code of a module.
    """
    with contextlib.suppress(Exception):
        setattr(error, _KEPT, traceback_of(error))


def traceback_of(error: BaseException) -> str:
    """Return the end of the traceback of ``error``; never raises, though ``error``'s code may."""
    kept = vars(error).get(_KEPT) if hasattr(error, "__dict__") else None
    if isinstance(kept, str):
        return kept
    try:
        return "".join(traceback.format_exception(error))[-TRACEBACK_CHARS_MAX:]
    except Exception as second:  # noqa: BLE001 - an exception may not even be printable
        return f"{type(error).__name__}: Error processing exception object: {type(second).__name__}"


def keep_origin(error: BaseException, kind: str, trace: str) -> None:
    """Have ``type_name`` and ``traceback_of`` return these: ``error`` stands for another one."""
    vars(error).update({_KEPT_TYPE: kind, _KEPT: trace})


def type_name(error: BaseException) -> str:
    """Return the name of the type of ``error``, or of the exception that it stands for."""
    kept = vars(error).get(_KEPT_TYPE) if hasattr(error, "__dict__") else None
    return kept if isinstance(kept, str) else type(error).__name__


def _colour(found: re.Match[str]) -> str:
    return found["colour"] or _escape(found)


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()

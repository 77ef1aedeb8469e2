"""What a command answers, whatever its handler returned."""

from __future__ import annotations

import errno
import logging
import traceback
from dataclasses import dataclass, replace

from mgr.command.registry import Command

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command said: 0 or a negative errno, data, words for people; the term it ran in."""

    retval: int = 0
    stdout: str = ""
    stderr: str = ""
    term: int = 0


def to_answer(result: object, command: Command, term: int) -> Answer:
    """The answer in ``result``, whatever a handler returned.

    A tuple of an int and two texts is one; anything else becomes ``EINVAL`` with a text that says
    what was returned. Text that cannot be UTF-8 has the offending characters escaped.
    """
    if isinstance(result, Answer):
        return replace(
            result,
            stdout=encodable(result.stdout),
            stderr=encodable(result.stderr),
            term=result.term or term,
        )
    if isinstance(result, tuple) and len(result) == 3:
        retval, stdout, stderr = result
        if isinstance(retval, int) and isinstance(stdout, str) and isinstance(stderr, str):
            return Answer(int(retval), encodable(stdout), encodable(stderr), term)
        got = ", ".join(type(element).__name__ for element in result)
        wrong = f"a tuple of ({got})"
    else:
        wrong = type(result).__name__
    text = (
        f"command '{command.prefix}' of module '{command.module}' returned {wrong} "
        "instead of (retval: int, stdout: str, stderr: str)"
    )
    log.error("wrong type of result", extra={"module_name": command.module, "error": text})
    return Answer(-errno.EINVAL, "", text, term)


def encodable(text: str) -> str:
    """Return ``text`` with every character escaped that cannot be UTF-8."""
    if text.isascii():
        return text
    return text.encode(errors="backslashreplace").decode()


def traceback_of(error: Exception) -> str:
    """Return the traceback of what a module raised, as text."""
    try:
        return "".join(traceback.format_exception(error))
    except Exception as second:  # noqa: BLE001 - a module's exception may not even be printable
        return f"{type(error).__name__}: Error processing exception object: {type(second).__name__}"

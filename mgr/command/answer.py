"""The answer of a command, and the conversion of a handler's result into one."""

from __future__ import annotations

import errno
import logging

from msgspec import Struct
from msgspec.structs import replace

from mgr.command.registry import Command
from mgr.report_limits import RETVAL_MAX
from mgr.text import encodable

log = logging.getLogger(__name__)


class Answer(Struct, frozen=True):
    """Answer of a command.

    Attributes:
        retval: 0 or a negative errno.
        stdout: Data.
        stderr: Text for people.
        term: The term in which the command ran.

    """

    retval: int = 0
    stdout: str = ""
    stderr: str = ""
    term: int = 0


def without_output(answer: Answer) -> Answer:
    """Return ``answer`` as it may be recorded if its output is a secret."""
    if not answer.stdout:
        return answer
    note = "the output is a secret: it was sent once and is not kept"
    return replace(answer, stdout="", stderr=f"{answer.stderr} ({note})".lstrip())


def to_answer(result: object, command: Command, term: int) -> Answer:
    """Convert the result of a handler into an ``Answer``.

    A tuple of an int and two strings is converted; any other value becomes ``EINVAL`` with a
    text that names its type. So does an int that an answer cannot hold. Characters that UTF-8
    cannot encode are escaped.
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
            if abs(retval) <= RETVAL_MAX:
                return Answer(int(retval), encodable(stdout), encodable(stderr), term)
            returned = f"a return value beyond {RETVAL_MAX}"
        else:
            types = ", ".join(type(element).__name__ for element in result)
            returned = f"a tuple of ({types})"
    else:
        returned = type(result).__name__
    text = (
        f"command '{command.prefix}' of module '{command.module}' returned {returned} "
        "instead of (retval: int, stdout: str, stderr: str)"
    )
    log.error(
        "command handler returned a wrong type",
        extra={"module_name": command.module, "error": text},
    )
    return Answer(-errno.EINVAL, "", text, term)

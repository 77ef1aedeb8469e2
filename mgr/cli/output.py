"""Output of ``mgrctl``: answers go to stdout, everything else to stderr."""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Sequence
from typing import Final

from mgr.argument.descriptor import Signature
from mgr.cli.command_cache import CachedCommand
from mgr.errors import (
    DeadlineExceededError,
    InvalidArgumentError,
    MgrError,
    NotActiveError,
    OutcomeUnknownError,
    TermLostError,
    UnreachableError,
)
from mgr.text import for_terminal

NOTHING_RAN: Final = 255
"""Exit status if nothing ran. It is no errno, so a script can distinguish it from a refusal."""
UNKNOWN: Final = errno.ETIMEDOUT
"""Exit status if the command may have run, in part or in full: check before repeating it."""
UNCLEAR: Final = (DeadlineExceededError, OutcomeUnknownError, TermLostError)
STATUS_MAX: Final = 254
PIPE_CLOSED: Final = 141


def answer(data: bytes, text: str, out_file: str | None) -> None:
    """Print a command's answer: ``data`` to stdout or ``out_file``, ``text`` to stderr.

    Raises:
        InvalidArgumentError: ``out_file`` cannot be written.

    """
    if out_file and out_file != "-":
        try:
            # Only for its owner: the answer may be a token or a password. A file that exists
            # keeps its mode.
            descriptor = os.open(out_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with open(descriptor, "wb") as file:  # noqa: PTH123 - pathlib opens no descriptor
                file.write(data)
        except OSError as error:
            raise InvalidArgumentError(f"cannot write {out_file}: {error.strerror}") from None
    elif data:
        write(data if data.endswith(b"\n") else data + b"\n")
    if text:
        to_stderr(f"{text.rstrip()}\n")


def refusal(retval: int, text: str, form: str) -> int:
    """Print that a command ran and failed; return the exit status."""
    number = -retval
    name = errno.errorcode.get(number, f"{number}")
    _error(name, "REFUSED", text or os.strerror(number), form)
    return number if 0 < number <= STATUS_MAX else 1


def failure(error: MgrError, form: str) -> int:
    """Print that nothing ran, or that the outcome is unknown; return the exit status."""
    name = errno.errorcode.get(error.errno, str(error.errno))
    _error(name, error.reason, str(error), form)
    if isinstance(error, (UnreachableError, NotActiveError)):
        return NOTHING_RAN
    return UNKNOWN if isinstance(error, UNCLEAR) else error.errno


def commands(found: Sequence[tuple[Signature, CachedCommand]]) -> None:
    """Print commands with their help: a table on a terminal, plain lines otherwise."""
    rows = [(signature.usage(), entry.help) for signature, entry in found]
    if _wants_colour():
        from rich.console import Console  # noqa: PLC0415 - 0.1 s that only a terminal pays
        from rich.table import Table as RichTable  # noqa: PLC0415 - as above
        from rich.text import Text  # noqa: PLC0415 - as above

        table = RichTable(box=None, show_header=False, padding=(0, 2, 0, 0))
        for usage, text in rows:
            table.add_row(Text(usage, style="bold"), Text(text))
        Console().print(table)
        return
    for usage, text in rows:
        sys.stdout.write(f"{usage}\n    {text}\n" if text else f"{usage}\n")


def write(data: bytes) -> None:
    """Write ``data`` to stdout, on a terminal without control characters.

    Raises:
        InvalidArgumentError: It cannot be written.

    """
    if sys.stdout.isatty():
        data = for_terminal(data.decode(errors="backslashreplace")).encode()
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        # Otherwise the interpreter would try to flush again at exit, and print a traceback.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise InvalidArgumentError(f"cannot write the answer: {error.strerror}") from None


def to_stderr(text: str) -> None:
    """Write ``text`` to stderr, on a terminal without control characters."""
    sys.stderr.write(for_terminal(text) if sys.stderr.isatty() else text)


def _wants_colour() -> bool:
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return sys.stdout.isatty()


def _error(name: str, code: str, text: str, form: str) -> None:
    if form.startswith("json"):
        document = {"error": {"code": code, "errno": name, "message": text}}
        indent = 4 if form == "json-pretty" else None
        sys.stderr.write(json.dumps(document, indent=indent) + "\n")
    else:
        to_stderr(f"Error {name}: {text.rstrip()}\n")

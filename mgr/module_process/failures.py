"""Exceptions between a worker and the process of a module, as plain values.

Errors of ours (``mgr.errors``) and Python's built-in ones keep their type, since their callers act
on it. Any other exception arrives as ``ModuleRaisedError``, with its text and its traceback.
"""

from __future__ import annotations

import builtins
import contextlib
from typing import Any, Final

from mgr import errors
from mgr.errors import MgrError
from mgr.host.crash import Crash, CrashOrigin
from mgr.host.execution import ModuleRaisedError, OtherProcessError
from mgr.module_process.messages import dumps
from mgr.text import encodable, error_text, keep_origin, traceback_of, typed_error_text

STATE_BYTES_MAX: Final = 1 << 20
"""What an exception holds beyond this is left out: its text, which is cut, arrives all the same."""


def encode_failure(error: BaseException, crash: Crash | None = None) -> tuple[Any, ...]:
    """Return ``error`` as plain values; never raises, though the error's own code may."""
    kind = type(error)
    trace = encodable(traceback_of(error))
    reported = None if crash is None else encode_crash(crash)
    family = ""
    if isinstance(error, MgrError) and getattr(errors, kind.__name__, None) is kind:
        family = "mgr"
    elif isinstance(error, Exception) and getattr(builtins, kind.__name__, None) is kind:
        family = "builtins"
    return family, kind.__name__, _text(error), *_plain_state(error), trace, reported


def decode_failure(failure: tuple[Any, ...], *, of_module: bool = False) -> Exception:
    """Return the exception that ``encode_failure`` was given, or what stands for it.

    ``of_module``: a module's process raised it, and a log of it has where.
    """
    family, name, text, args, attributes, trace, reported = failure
    crash = None if reported is None else decode_crash(reported)
    error: Exception | None = None
    if crash is None and family == "mgr":
        error = _remade(getattr(errors, name), args, attributes)
    elif crash is None and family == "builtins":
        error = _remade_builtin(getattr(builtins, name), args)
    if error is None:
        error = ModuleRaisedError(text or name, trace, crash)
    if of_module and not isinstance(error, MgrError):
        keep_origin(error, name, trace)
        error.__cause__ = OtherProcessError(trace)
    return error


def encode_crash(crash: Crash) -> tuple[Any, ...]:
    """Return a crash report as plain values."""
    return (
        *(crash.module, crash.origin.value, crash.kind, crash.backtrace, crash.at, crash.id),
        crash.signal,
    )


def decode_crash(fields: tuple[Any, ...]) -> Crash:
    """Return the crash report of ``encode_crash``."""
    module, origin, *rest = fields
    return Crash(module, CrashOrigin(origin), *rest)


def _remade(kind: Any, args: Any, attributes: dict[str, Any]) -> Exception | None:
    if not (isinstance(kind, type) and issubclass(kind, Exception)):
        return None
    # Not by its constructor: that takes other arguments than those that it keeps.
    made: Exception = kind.__new__(kind, *args)
    made.args = tuple(args)
    vars(made).update(attributes)
    return made


def _remade_builtin(kind: Any, args: Any) -> Exception | None:
    """Call the constructor: without it, some lose their text (``UnicodeError``) or cannot be."""
    with contextlib.suppress(Exception):  # a module may have replaced ``args``
        made = kind(*args)
        if isinstance(made, Exception):
            return made
    return None


def _plain_state(error: BaseException) -> tuple[Any, Any]:
    try:
        args = error.args
        if isinstance(error, OSError) and error.filename is not None:
            # Not among ``args``; the fourth counts on Windows only.
            args = (*args[:2], error.filename, None, error.filename2)
        state = tuple(args), dict(vars(error))
        if len(dumps(state)) <= STATE_BYTES_MAX:
            return state
    except Exception:  # noqa: BLE001, S110 - an exception may hold anything
        pass
    return (_text(error),), {}


def _text(error: BaseException) -> str:
    if not isinstance(error, Exception):  # what would end a thread or the process
        return encodable(typed_error_text(error))
    return encodable(error_text(error))

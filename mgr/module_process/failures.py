"""Exceptions between a worker and the process of a module, as plain values.

Errors of ours (``mgr.errors``) and Python's built-in ones keep their type, since their callers act
on it. Any other exception arrives as ``ModuleRaisedError``, with its text and its traceback.
"""

from __future__ import annotations

import builtins
from typing import Any

from mgr import errors
from mgr.errors import MgrError
from mgr.host.crash import Crash, CrashOrigin
from mgr.host.execution import ModuleRaisedError
from mgr.module_process.messages import dumps
from mgr.text import encodable, error_text, traceback_of, typed_error_text


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


def decode_failure(failure: tuple[Any, ...]) -> Exception:
    """Return the exception that ``encode_failure`` was given, or what stands for it."""
    family, name, text, args, attributes, trace, reported = failure
    crash = None if reported is None else decode_crash(reported)
    error: Exception | None = None
    if crash is None and family == "mgr":
        error = _remade(getattr(errors, name), args, attributes)
    elif crash is None and family == "builtins":
        error = _remade(getattr(builtins, name), args, {})
    return error or ModuleRaisedError(text or name, trace, crash)


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


def _plain_state(error: BaseException) -> tuple[Any, Any]:
    try:
        state = tuple(error.args), dict(vars(error))
        dumps(state)
    except Exception:  # noqa: BLE001 - an exception may hold anything
        return (_text(error),), {}
    return state


def _text(error: BaseException) -> str:
    if not isinstance(error, Exception):  # what would end a thread or the process
        return encodable(typed_error_text(error))
    return encodable(error_text(error))

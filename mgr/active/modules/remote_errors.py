"""Converts an exception of a called module into the one that the caller catches (docs/adr/0013).

Code written for ceph-mgr catches ``RuntimeError``, the only type that a remote call raises there.
Other code wants to catch the type that the called module raised. So the exception is of both types.

``ImportError`` and ``NameError`` are not passed on: to the caller they mean that the call never
happened.
"""

from __future__ import annotations

import functools
import pickle
from typing import Any, Final

NOT_CALLED_ERRORS: Final = (ImportError, NameError)
"""The errors that ``Remote.call`` itself raises before it calls the other module."""


def error_for_caller(error: Exception, text: str) -> tuple[Exception, RuntimeError | None]:
    """Return the exception to raise instead of ``error``, and its cause.

    The exception is a copy with the same text that is also a ``RuntimeError``; its cause is a
    ``RuntimeError`` with ``text``, which has the other module's traceback. If no such copy can be
    made, it is a plain ``RuntimeError`` with ``text``, and the cause is None.
    """
    if isinstance(error, NOT_CALLED_ERRORS):
        return RuntimeError(text), None
    try:
        made = pickle.loads(pickle.dumps(_as_runtime_error(error)))  # noqa: S301 - our own bytes
    except Exception:  # noqa: BLE001 - a module's exceptions may raise anything when copied
        made = None
    # A type whose constructor changes its arguments may be rebuilt as something else.
    if not isinstance(made, type(error)) or str(made) != str(error):
        return RuntimeError(text), None
    return made, RuntimeError(text)


def _as_runtime_error(error: Exception) -> Exception:
    """Return a copy of ``error`` that is also a ``RuntimeError``; ``error`` itself if it is one."""
    if isinstance(error, RuntimeError):
        return error
    kind, args, state = _parts(error.__reduce__())
    if kind is not type(error):
        raise TypeError(f"{type(error).__name__} has its own way of pickling")
    return _rebuild(kind, args, state)


def _rebuild(kind: Any, args: tuple[Any, ...], state: Any) -> Exception:
    made: Exception = _combined_class(kind)(*args)
    if state is not None:
        made.__setstate__(state)
    return made


@functools.cache
def _combined_class(kind: Any) -> Any:
    """Return a subclass of ``kind`` and ``RuntimeError``, with the name of ``kind``.

    Cached without a limit: there is one for each exception type that modules raise.
    """

    def reduce(self: Exception) -> tuple[Any, ...]:
        # Pickle cannot find the combined class by name, so it is rebuilt from ``kind``.
        _, args, state = _parts(kind.__reduce__(self))
        return _rebuild, (kind, args, state)

    names = {"__reduce__": reduce, "__module__": kind.__module__, "__qualname__": kind.__qualname__}
    return type(kind.__name__, (kind, RuntimeError), names)


def _parts(reduced: Any) -> tuple[Any, Any, Any]:
    """Split what ``__reduce__`` returned: callable, arguments, and attributes or None."""
    return (*reduced, None)[:3]

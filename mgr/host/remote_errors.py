"""Converts an exception of a called module into the one that the caller catches (docs/adr/0013).

Code written for ceph-mgr catches ``RuntimeError``, the only type that a remote call raises there.
Other code wants to catch the type that the called module raised. So the exception is of both types.

``ImportError`` and ``NameError`` are not passed on: to the caller they mean that the call never
happened. Nor is what would end a thread or the process (``SystemExit``): it ends the call only.
"""

from __future__ import annotations

import functools
import pickle
import traceback
from collections.abc import Callable
from typing import Any, Final

NOT_CALLED_ERRORS: Final = (ImportError, NameError)
"""The errors that ``Remote.call`` itself raises before it calls the other module."""


def called_method(instance: object, name: str) -> Callable[..., Any]:
    """Return the method ``name`` of a module; raises what looking it up raises.

    Raises:
        NameError: ``Method not found``.

    """
    found: Callable[..., Any] | None = getattr(instance, name, None)
    if found is None:
        raise NameError("Method not found")
    return found


def failure_text() -> str:
    """Return Ceph's text for the exception that is being handled."""
    return f"Remote method threw exception: {traceback.format_exc()}"


def error_for_caller(error: BaseException, text: str) -> tuple[Exception, RuntimeError | None]:
    """Return the exception to raise instead of ``error``, and its cause.

    The exception is a copy with the same text that is also a ``RuntimeError``; its cause is a
    ``RuntimeError`` with ``text``, which has the other module's traceback. An empty text is
    replaced by one that names the type. If no such copy can be made, it is a plain
    ``RuntimeError`` with ``text``, and the cause is None.
    """
    if not isinstance(error, Exception) or isinstance(error, NOT_CALLED_ERRORS):
        return RuntimeError(text), None
    try:
        made = pickle.loads(pickle.dumps(_as_runtime_error(error)))  # noqa: S301 - our own bytes
        # A type whose constructor changes its arguments may be rebuilt as something else.
        same = isinstance(made, type(error)) and str(made) == (str(error) or _no_text(type(error)))
    except Exception:  # noqa: BLE001 - a module's exceptions may raise anything when copied
        return RuntimeError(text), None
    return (made, RuntimeError(text)) if same else (RuntimeError(text), None)


def _as_runtime_error(error: Exception) -> Exception:
    """Return a copy of ``error`` that is also a ``RuntimeError`` and has a text.

    It is ``error`` itself if that is such an exception.
    """
    if isinstance(error, RuntimeError) and str(error):
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

    Its text is never empty: callers show it, and an empty line says nothing.

    Cached without a limit: there is one for each exception type that modules raise.
    """

    def reduce(self: Exception) -> tuple[Any, ...]:
        # Pickle cannot find the combined class by name, so it is rebuilt from ``kind``.
        _, args, state = _parts(kind.__reduce__(self))
        return _rebuild, (kind, args, state)

    def text(self: Exception) -> str:
        return str(kind.__str__(self)) or _no_text(kind)

    names = {
        "__reduce__": reduce,
        "__str__": text,
        "__module__": kind.__module__,
        "__qualname__": kind.__qualname__,
    }
    bases = (kind,) if issubclass(kind, RuntimeError) else (kind, RuntimeError)
    return type(kind.__name__, bases, names)


def _no_text(kind: type[Exception]) -> str:
    return f"{kind.__name__} was raised without a text"


def _parts(reduced: Any) -> tuple[Any, Any, Any]:
    """Split what ``__reduce__`` returned: callable, arguments, and attributes or None."""
    return (*reduced, None)[:3]

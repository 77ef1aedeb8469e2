"""What one module raised, as the module that called it catches it (docs/adr/0013).

Code written for ceph-mgr catches ``RuntimeError``: there, no other type comes out of a call.
Code that knows its neighbour wants the neighbour's own type. One exception is both.

Two types are left out: ``ImportError`` and ``NameError`` say of a call that nothing was called.
"""

from __future__ import annotations

import functools
import pickle
from typing import Any, Final

NOT_CALLED_ERRORS: Final = (ImportError, NameError)
"""What a call raises before it reaches the other module."""


def error_for_caller(error: Exception, text: str) -> tuple[Exception, RuntimeError | None]:
    """What is to be raised in the place of ``error``, and from which cause.

    A copy of it, of its own type and of ``RuntimeError`` at once, with the text it had; its
    cause is a ``RuntimeError`` with ``text``, which holds the other module's traceback. Where no
    such copy can be made, a ``RuntimeError`` with ``text``, and no cause.
    """
    if isinstance(error, NOT_CALLED_ERRORS):
        return RuntimeError(text), None
    try:
        made = pickle.loads(pickle.dumps(_as_runtime_error(error)))  # noqa: S301 - our own bytes
    except Exception:  # noqa: BLE001 - a module's exceptions may raise anything when copied
        made = None
    # A type that reads its arguments in a way of its own comes back as something else.
    if not isinstance(made, type(error)) or str(made) != str(error):
        return RuntimeError(text), None
    return made, RuntimeError(text)


def _as_runtime_error(error: Exception) -> Exception:
    """A copy of ``error`` that is a ``RuntimeError``, too; itself if it is one."""
    if isinstance(error, RuntimeError):
        return error
    kind, args, state = _parts(error.__reduce__())
    if kind is not type(error):
        raise TypeError(f"{type(error).__name__} is rebuilt in a way of its own")
    return _rebuild(kind, args, state)


def _rebuild(kind: Any, args: tuple[Any, ...], state: Any) -> Exception:
    made: Exception = _combined_class(kind)(*args)
    if state is not None:
        made.__setstate__(state)
    return made


@functools.cache
def _combined_class(kind: Any) -> Any:
    """A class of both kinds, under the name of the first. There are as many as there are kinds."""

    def reduce(self: Exception) -> tuple[Any, ...]:
        # The class itself cannot be found by name: whoever hands this on hands on its parts.
        _, args, state = _parts(kind.__reduce__(self))
        return _rebuild, (kind, args, state)

    names = {"__reduce__": reduce, "__module__": kind.__module__, "__qualname__": kind.__qualname__}
    return type(kind.__name__, (kind, RuntimeError), names)


def _parts(reduced: Any) -> tuple[Any, Any, Any]:
    """What an object is rebuilt from: callable, arguments, and its attributes if it has any."""
    return (*reduced, None)[:3]

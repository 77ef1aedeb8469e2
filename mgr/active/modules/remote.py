"""Calls from one module to another: on the caller's thread, everything by value."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mgr.active.modules.remote_errors import error_for_caller


class Remote:
    """Calls methods of running modules.

    On the caller's thread and under no lock, or two modules that call each other would wait for
    ever. By value, so that modules share no object, which one of them would change under the
    other's hands; and so that a module may one day run in another process.
    """

    def __init__(self, instance_of: Callable[[str], object | None]) -> None:
        """Ask ``instance_of`` for a module; it may be called from any thread."""
        self._instance_of = instance_of

    def call(self, module: str, method: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Call ``method`` of ``module``; what it returned.

        What the method raised comes out as the same type *and* as a ``RuntimeError``, where it
        can be copied; else as a ``RuntimeError`` alone, whose text is the traceback
        (``mgr/active/modules/remote_errors.py``, docs/adr/0013).

        Raises:
            ImportError: No such module is running.
            NameError: It has no such method.
            RuntimeError: The method raised, or something cannot be pickled.

        """
        instance = self._instance_of(module)
        if instance is None:
            raise ImportError("Module not found")
        target = getattr(instance, method, None)
        if target is None:
            raise NameError("Method not found")
        try:
            own_args, own_kwargs = _copy((tuple(args), dict(kwargs)))
        except Exception:  # noqa: BLE001 - a module's objects may raise anything when pickled
            raise RuntimeError(traceback.format_exc()) from None
        try:
            returned = target(*own_args, **own_kwargs)
        except Exception as error:  # noqa: BLE001 - the other module's code
            failure, cause = error_for_caller(error, _failure_text())
            raise failure from cause
        try:
            return _copy(returned)
        except Exception:  # noqa: BLE001 - as for the arguments
            raise RuntimeError(_failure_text()) from None


def _failure_text() -> str:
    """Ceph's words for what is being handled."""
    return f"Remote method threw exception: {traceback.format_exc()}"


def _copy(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))  # noqa: S301 - our own bytes, written on the same line

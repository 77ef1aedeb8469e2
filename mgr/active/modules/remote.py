"""Calls methods of one module for another, on the caller's thread and with copied values."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mgr.active.modules.remote_errors import error_for_caller


class Remote:
    """Calls methods of running modules.

    A call runs on the caller's thread and holds no lock: two modules that call each other would
    deadlock otherwise. Arguments and results are copied, so that no module can change an object
    that another one uses, and so that a module may run in another process one day.
    """

    def __init__(self, instance_of: Callable[[str], object | None]) -> None:
        """Find modules with ``instance_of``, which may be called from any thread."""
        self._instance_of = instance_of

    def call(self, module: str, method: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Call ``method`` of ``module`` and return a copy of its result.

        An exception of the method is raised here with its own type *and* as a ``RuntimeError``,
        if it can be copied; else as a plain ``RuntimeError`` whose text is the traceback
        (``mgr/active/modules/remote_errors.py``, docs/adr/0013).

        Raises:
            ImportError: No such module is running.
            NameError: The module has no such method.
            RuntimeError: The method raised, or arguments or result cannot be pickled.

        """
        instance = self._instance_of(module)
        if instance is None:
            raise ImportError("Module not found")
        target = _method(instance, method)
        try:
            own_args, own_kwargs = _copy((tuple(args), dict(kwargs)))
        except Exception:  # noqa: BLE001 - a module's objects may raise anything when pickled
            raise RuntimeError(traceback.format_exc()) from None
        try:
            returned = target(*own_args, **own_kwargs)
        except BaseException as error:  # noqa: BLE001 - the other module's code; it may even exit
            failure, cause = error_for_caller(error, _failure_text())
            raise failure from cause
        try:
            return _copy(returned)
        except Exception:  # noqa: BLE001 - as for the arguments
            raise RuntimeError(_failure_text()) from None


def _method(instance: object, name: str) -> Callable[..., Any]:
    try:
        found: Callable[..., Any] | None = getattr(instance, name, None)
    except BaseException as error:  # noqa: BLE001 - a property is the other module's code, too
        failure, cause = error_for_caller(error, _failure_text())
        raise failure from cause
    if found is None:
        raise NameError("Method not found")
    return found


def _failure_text() -> str:
    """Return Ceph's text for the exception that is being handled."""
    return f"Remote method threw exception: {traceback.format_exc()}"


def _copy(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))  # noqa: S301 - our own bytes, written on the same line

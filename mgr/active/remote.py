"""Calls from one module to another: on the caller's thread, everything by value."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any


class Remote:
    """Calls methods of running modules.

    On the caller's thread, or two modules that call each other would wait for ever. By value, so
    that modules share no object, which one of them would change under the other's hands; and so
    that a module may one day run in another process.
    """

    def __init__(self, instance_of: Callable[[str], object | None]) -> None:
        """Ask ``instance_of`` for a module; it may be called from any thread."""
        self._instance_of = instance_of

    def call(self, module: str, method: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Call ``method`` of ``module``; what it returned.

        Raises:
            ImportError: No such module is running.
            NameError: It has no such method.
            RuntimeError: The method raised, or something cannot be pickled; the text is the
                traceback.

        """
        instance = self._instance_of(module)
        if instance is None:
            raise ImportError("Module not found")
        target = getattr(instance, method, None)
        if target is None:
            raise NameError("Method not found")
        try:
            own_args, own_kwargs = _copied((tuple(args), dict(kwargs)))
        except Exception:  # noqa: BLE001 - a module's objects may raise anything when pickled
            raise RuntimeError(traceback.format_exc()) from None
        try:
            return _copied(target(*own_args, **own_kwargs))
        except Exception:  # noqa: BLE001 - the other module's code
            raise RuntimeError(f"Remote method threw exception: {traceback.format_exc()}") from None


def _copied(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))  # noqa: S301 - our own bytes, written on the same line

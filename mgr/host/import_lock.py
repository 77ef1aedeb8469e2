"""Keeps the lock of all imports free while setuptools' finder imports setuptools.

``importlib`` asks each finder of ``sys.meta_path`` while it holds one lock that every import of the
process needs for a moment. The finder that setuptools puts there for every program imports
setuptools at the first ``import distutils``. If another thread imports a part of that at the same
time, each waits for the other, for ever, and then every further import does.
"""

from __future__ import annotations

import _imp
import contextlib
import sys
from collections.abc import Callable
from typing import Any, Final

NAMES: Final = frozenset({"distutils", "pip"})
"""What that finder imports something for. For each import, threads would queue for the lock."""


def search_without_import_lock() -> None:
    """Have the finders that there are now search for ``NAMES`` without it. Call it at the start.

    Each module that is imported has a lock of its own, which stays held; a deadlock of those is
    recognised by ``importlib``. Its own finders are classes, import nothing, and keep the lock.
    """
    for finder in sys.meta_path:
        if not isinstance(finder, type) and "find_spec" not in getattr(finder, "__dict__", {}):
            with contextlib.suppress(AttributeError, TypeError):  # it has no such method, or slots
                vars(finder)["find_spec"] = _without_lock(finder.find_spec)


def _without_lock(find_spec: Callable[..., Any]) -> Callable[..., Any]:
    def search(name: str, *args: Any, **kwargs: Any) -> Any:
        if name not in NAMES:
            return find_spec(name, *args, **kwargs)
        try:
            _imp.release_lock()
        except RuntimeError:  # not called by an import: it is not held
            return find_spec(name, *args, **kwargs)
        try:
            return find_spec(name, *args, **kwargs)
        finally:
            _imp.acquire_lock()

    return search

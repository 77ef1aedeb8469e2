"""Imports libraries that only some functions of the interface need."""

from __future__ import annotations

import importlib
from typing import Any


def library(name: str, needed_for: str) -> Any:
    """Import an optional library when it is used.

    Raises:
        ImportError: It is not installed; the text names ``needed_for``.

    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        wanted = f"{needed_for} needs the Python package {name.partition('.')[0]!r}"
        raise ImportError(f"{wanted}, which is not on this host", name=name) from error

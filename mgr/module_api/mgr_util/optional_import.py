"""Libraries that some names of the interface need and the product does not."""

from __future__ import annotations

import importlib
from typing import Any


def library(name: str, needed_for: str) -> Any:
    """A module that the product works without, imported when it is used.

    Raises:
        ImportError: It is not installed; says what it is needed for.

    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        wanted = f"{needed_for} needs the Python package {name.partition('.')[0]!r}"
        raise ImportError(f"{wanted}, which is not on this host", name=name) from error

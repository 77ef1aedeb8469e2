"""The version, read from the installed distribution; ``pyproject.toml`` is its only source."""

from __future__ import annotations

import functools


# Looked up on disk, and asked by each module that is constructed on promotion.
@functools.cache
def installed_version() -> str:
    """Return the version of the installed distribution; ``0`` where none is installed."""
    # Imported here: it loads the package email, and mgrctl needs the version for --version only.
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415

    try:
        return version("mgrd")
    except PackageNotFoundError:
        return "0"

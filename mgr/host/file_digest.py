"""Digests of modules' files, by which managers on different hosts are compared."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from typing import Final

DIGITS: Final = 12


def files_digest(place: str) -> str:
    """Return a digest of the Python files beside ``place``, a module's ``module.py``. Blocks.

    It does not depend on where the folder is. Of an installed distribution, whose own tools check
    its files, it is that of ``place``, which has its version. Empty if the file is not there.
    """
    file = Path(place)
    if place and not file.is_absolute():
        return hashlib.sha256(place.encode()).hexdigest()[:DIGITS]
    if not file.is_file():
        return ""
    found = hashlib.sha256()
    for each in sorted(file.parent.rglob("*.py")):
        with contextlib.suppress(OSError):
            found.update(f"{each.relative_to(file.parent)}\0".encode() + each.read_bytes())
    return found.hexdigest()[:DIGITS]

"""Packages of modules, made without the command that makes them."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping

from mgr.host.module_archive import FORMAT, INDEX


def archive_of(
    files: Mapping[str, bytes], compression: int = zipfile.ZIP_DEFLATED, *, name: str = "greeter"
) -> bytes:
    """Return the package of a module with these files, whatever they are called."""
    index = {
        "format": FORMAT,
        "module": name,
        "files": {each: hashlib.sha256(content).hexdigest() for each, content in files.items()},
    }
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", compression) as target:
        for each, content in {INDEX: json.dumps(index).encode(), **files}.items():
            target.writestr(zipfile.ZipInfo(each or "?"), content, compression)
    return archive.getvalue()

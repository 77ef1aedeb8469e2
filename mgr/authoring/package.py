"""``mgrctl module package`` and ``unpack``: makes a module's package, and unpacks one.

The same files make the same archive, byte by byte. ``mgr/host/module_archive.py`` reads it.
"""

from __future__ import annotations

import io
import json
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from mgr.authoring.scaffold import AlreadyThereError
from mgr.authoring.source import ModuleSource
from mgr.errors import InvalidArgumentError, TooLargeError
from mgr.host.module_archive import BYTES_MAX, FILES_MAX, FORMAT, INDEX, Package, sha256_of
from mgr.host.module_package import ALLOWED_NAMES, is_allowed

SUFFIX: Final = ".mgrmodule"
DATE: Final = (1980, 1, 1, 0, 0, 0)
MODE: Final = 0o644 << 16


def pack(source: ModuleSource) -> bytes:
    """Return the archive of a module.

    Raises:
        InvalidArgumentError: Its name is not allowed, or a file cannot be read.
        TooLargeError: It is above the limit; the text names the largest file.

    """
    if not is_allowed(source.name):
        raise InvalidArgumentError(f"{source.name!r} is no name of a module: use {ALLOWED_NAMES}")
    files: dict[str, bytes] = {}
    for path in source.files():
        if path.is_symlink():
            raise InvalidArgumentError(f"{path} is a symbolic link: replace it by the file")
        try:
            files[path.relative_to(source.folder).as_posix()] = path.read_bytes()
        except OSError as error:
            raise InvalidArgumentError(f"cannot read {path}: {error.strerror}") from None
    _check_size(files)
    index = {
        "format": FORMAT,
        "module": source.name,
        "files": {path: sha256_of(content) for path, content in files.items()},
    }
    text = json.dumps(index, indent=1, sort_keys=True).encode()
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as target:
        for name, content in {INDEX: text, **files}.items():
            entry = zipfile.ZipInfo(name, DATE)
            entry.external_attr, entry.compress_type = MODE, zipfile.ZIP_DEFLATED
            target.writestr(entry, content)
    return archive.getvalue()


def unpack(package: Package, parent: Path) -> Path:
    """Write the module's folder below ``parent``, all of it or nothing; return the folder.

    Raises:
        InvalidArgumentError: ``parent`` cannot be written.
        AlreadyThereError: There is a folder of this name already. Nothing was written.

    """
    folder = parent / package.name
    if folder.exists():
        raise AlreadyThereError(f"{folder} is there already: nothing was written")
    try:
        work = Path(tempfile.mkdtemp(dir=parent, prefix=".module-"))
        try:
            for name, content in package.files.items():
                target = work / "new" / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
            (work / "new").rename(folder)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        raise InvalidArgumentError(f"cannot write {folder}: {error.strerror}") from None
    return folder


def _check_size(files: Mapping[str, bytes]) -> None:
    total = sum(map(len, files.values()))
    if total > BYTES_MAX or len(files) > FILES_MAX:
        largest = max(files, key=lambda name: len(files[name]))
        raise TooLargeError(
            f"a package has at most {BYTES_MAX} bytes in {FILES_MAX} files, not {total} in "
            f"{len(files)}; the largest is {largest}"
        )

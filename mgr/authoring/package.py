"""``mgrctl module package`` and ``unpack``: a module as one file, checked by hashes.

The file is a zip archive. Its first entry names the module and has the SHA-256 of every other one;
the same files make the same archive, byte by byte.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from mgr.authoring.scaffold import AlreadyThereError
from mgr.authoring.source import ModuleSource
from mgr.errors import InvalidArgumentError, TooLargeError
from mgr.host.module_package import ALLOWED_NAMES, is_allowed

SUFFIX: Final = ".mgrmodule"
INDEX: Final = "MODULE.json"
FORMAT: Final = 1
BYTES_MAX: Final = 4 * 2**20
"""Size of an archive and of its content: a module is source code."""
FILES_MAX: Final = 1000
DATE: Final = (1980, 1, 1, 0, 0, 0)
MODE: Final = 0o644 << 16


@dataclass(frozen=True, slots=True)
class Package:
    """A module in one file.

    Attributes:
        digest: SHA-256 of the archive, in hexadecimal.
        files: Content of every file by its path below the module's folder.

    """

    name: str
    digest: str
    files: Mapping[str, bytes]


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
        "files": {path: hashlib.sha256(content).hexdigest() for path, content in files.items()},
    }
    text = json.dumps(index, indent=1, sort_keys=True).encode()
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as target:
        for name, content in {INDEX: text, **files}.items():
            entry = zipfile.ZipInfo(name, DATE)
            entry.external_attr, entry.compress_type = MODE, zipfile.ZIP_DEFLATED
            target.writestr(entry, content)
    return archive.getvalue()


def read(data: bytes, *, digest: str = "") -> Package:
    """Check an archive and return its content. Nothing is written.

    Raises:
        InvalidArgumentError: It is no such archive, an entry was changed or has an unsafe path, or
            its SHA-256 is not ``digest``.
        TooLargeError: It is above the limit.

    """
    found = hashlib.sha256(data).hexdigest()
    if digest and digest.removeprefix("sha256:") != found:
        raise InvalidArgumentError(f"the file is not the one that was named: sha256:{found}")
    if len(data) > BYTES_MAX:
        raise TooLargeError(f"a package has at most {BYTES_MAX} bytes, not {len(data)}")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            index = _index(archive)
            files = _entries(archive, index["files"])
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError, NotImplementedError) as error:
        raise InvalidArgumentError(f"not a package of a module: {error}") from None
    return Package(index["module"], found, files)


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


def _index(archive: zipfile.ZipFile) -> dict[str, Any]:
    listed = archive.infolist()
    if len(listed) > FILES_MAX + 1 or sum(entry.file_size for entry in listed) > BYTES_MAX:
        raise TooLargeError(f"a package unpacks to at most {BYTES_MAX} bytes in {FILES_MAX} files")
    index: dict[str, Any] = json.loads(archive.read(INDEX))
    if index["format"] != FORMAT:
        raise ValueError(f"its format is {index['format']!r}, and this program reads {FORMAT}")
    if not is_allowed(str(index["module"])):
        raise ValueError(f"its name is {index['module']!r}")
    if "module.py" not in index["files"]:
        raise ValueError("it has no module.py")
    names = [entry.filename for entry in listed]
    if len(set(names)) != len(names) or set(names) != {INDEX, *index["files"]}:
        raise ValueError("its entries are not those that its index lists")
    return index


def _entries(archive: zipfile.ZipFile, hashes: Mapping[str, str]) -> dict[str, bytes]:
    files = {}
    for name, wanted in hashes.items():
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name or str(path) != name:
            raise ValueError(f"unsafe path {name!r}")
        files[name] = archive.read(name)
        if hashlib.sha256(files[name]).hexdigest() != wanted:
            raise ValueError(f"{name} was changed")
    return files


def _check_size(files: Mapping[str, bytes]) -> None:
    total = sum(map(len, files.values()))
    if total > BYTES_MAX or len(files) > FILES_MAX:
        largest = max(files, key=lambda name: len(files[name]))
        raise TooLargeError(
            f"a package has at most {BYTES_MAX} bytes in {FILES_MAX} files, not {total} in "
            f"{len(files)}; the largest is {largest}"
        )

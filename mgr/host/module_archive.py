"""Reads a module's package: one file, checked by hashes before anything of it is used.

The file is a zip archive. Its first entry names the module and has the SHA-256 of every other one.
``mgr/authoring/package.py`` makes it.
"""

from __future__ import annotations

import hashlib
import io
import stat
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

import msgspec

from mgr.errors import InvalidArgumentError, TooLargeError
from mgr.host.module_package import is_allowed

INDEX: Final = "MODULE.json"
FORMAT: Final = 1
BYTES_MAX: Final = 4 * 2**20
"""Size of an archive and of its content: a module is source code."""
FILES_MAX: Final = 1000
COMPRESSIONS: Final = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
"""Of these, zipfile unpacks no more than an entry's declared size; of the others it does."""
_ENCRYPTED: Final = 0x1
_UNREADABLE: Final = (
    zipfile.BadZipFile,
    zlib.error,
    msgspec.MsgspecError,
    KeyError,
    ValueError,
    EOFError,
    OverflowError,
    NotImplementedError,
    RecursionError,
)


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


class _Index(msgspec.Struct, frozen=True):
    format: int
    module: str
    files: dict[str, str]


def sha256_of(data: bytes) -> str:
    """Return the SHA-256 of ``data``, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def read(data: bytes, *, digest: str = "") -> Package:
    """Check an archive and return its content. Nothing is written.

    Raises:
        InvalidArgumentError: It is no such archive, an entry was changed or has an unsafe path, or
            its SHA-256 is not ``digest``.
        TooLargeError: It is above the limit.

    """
    found = sha256_of(data)
    if digest and digest.removeprefix("sha256:") != found:
        raise InvalidArgumentError(f"the file is not the one that was named: sha256:{found}")
    if len(data) > BYTES_MAX:
        raise TooLargeError(f"a package has at most {BYTES_MAX} bytes, not {len(data)}")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            index = _index(archive)
            files = _entries(archive, index.files)
    except _UNREADABLE as error:
        raise InvalidArgumentError(f"not a package of a module: {error}") from None
    return Package(index.module, found, files)


def _index(archive: zipfile.ZipFile) -> _Index:
    listed = archive.infolist()
    if len(listed) > FILES_MAX + 1 or sum(entry.file_size for entry in listed) > BYTES_MAX:
        raise TooLargeError(f"a package unpacks to at most {BYTES_MAX} bytes in {FILES_MAX} files")
    for entry in listed:
        _check_entry(entry)
    index = msgspec.json.decode(archive.read(INDEX), type=_Index)
    if index.format != FORMAT:
        raise ValueError(f"its format is {index.format!r}, and this program reads {FORMAT}")
    if not is_allowed(index.module):
        raise ValueError(f"its name is {index.module!r}")
    if "module.py" not in index.files:
        raise ValueError("it has no module.py")
    names = [entry.filename for entry in listed]
    if len(set(names)) != len(names) or set(names) != {INDEX, *index.files}:
        raise ValueError("its entries are not those that its index lists")
    return index


def _check_entry(entry: zipfile.ZipInfo) -> None:
    if entry.compress_type not in COMPRESSIONS or entry.flag_bits & _ENCRYPTED:
        raise ValueError(
            f"{entry.filename} is encrypted, or compressed in another way than deflate"
        )
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise ValueError(f"{entry.filename} is a symbolic link")


def _entries(archive: zipfile.ZipFile, hashes: Mapping[str, str]) -> dict[str, bytes]:
    files = {}
    for name, wanted in hashes.items():
        if not _is_safe(name):
            raise ValueError(f"unsafe path {name!r}")
        files[name] = archive.read(name)
        if sha256_of(files[name]) != wanted:
            raise ValueError(f"{name} was changed")
    return files


def _is_safe(name: str) -> bool:
    """Return whether ``name`` is a path below a folder, and of no hidden or compiled file."""
    path = PurePosixPath(name)
    return (
        str(path) == name
        and not path.is_absolute()
        and "\\" not in name
        and not any(part.startswith(".") or part == "__pycache__" for part in path.parts)
    )

"""Modules that were installed by command: their records, and their packages in etcd.

A package is kept in chunks below ``packages/<sha256>/``. The record ``installed/<module>`` names
the version that every manager shall have, and the one before. It is one key, so a manager finds the
old version or the new one, whatever became of the command that wrote it. Chunks that no record
names have no effect; the next installation removes them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from mgr.errors import InvalidArgumentError
from mgr.link import ModuleReport
from mgr.settings import Settings
from mgr.store.api import UNREADABLE, Put, Reader
from mgr.store.keys import Keys

PACKAGE_BYTES_MAX: Final = 1 << 20
"""Limit of one package: in base64 it is below what one command may carry."""
STORED_BYTES_MAX: Final = 16 << 20
"""Limit of all packages together: they are in the memory of every manager."""
CHUNK_CHARS: Final = 256 << 10
"""Characters of one chunk, which is base64: etcd advises against values of a mebibyte."""
DIGEST_SHOWN: Final = 12
MODULES: Final = "modules"
"""The folder, below ``installed_folder``, that is searched for modules."""


class PackageVersion(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a module.

    Attributes:
        digest: SHA-256 of its package, in hexadecimal.
        size: Bytes of the package.
        at: When it was installed, wall time in ISO 8601.
        by: The client that installed it; empty: the manager itself.

    """

    digest: str
    size: int
    at: str
    by: str = ""

    @property
    def short(self) -> str:
        """The beginning of its digest, for people."""
        return short_digest(self.digest)


class InstalledModule(msgspec.Struct, frozen=True, kw_only=True):
    """The version that every manager shall have, and the one that ``rollback`` brings back."""

    current: PackageVersion
    previous: PackageVersion | None = None

    @property
    def versions(self) -> tuple[PackageVersion, ...]:
        """Both, or the only one."""
        return (self.current,) if self.previous is None else (self.current, self.previous)


def installed_folder(settings: Settings) -> Path | None:
    """Return where a manager with ``settings`` keeps packages; None if it takes none."""
    if not (settings.module_install and settings.state_dir):
        return None
    name = f"{settings.cluster}.{settings.id}"
    return Path(settings.state_dir).absolute() / "installed" / name


def module_folders(settings: Settings) -> tuple[str, ...]:
    """Return the folders to search for modules: those of the operator, then the installed ones."""
    folder = installed_folder(settings)
    modules = folder / MODULES if folder else None
    return (*settings.module_path, *([str(modules)] if modules and modules.is_dir() else []))


def short_digest(digest: str) -> str:
    """Return the beginning of a digest, as people see it."""
    return f"sha256:{digest[:DIGEST_SHOWN]}"


def encode(record: InstalledModule) -> str:
    """Encode ``record`` as the store holds it."""
    return msgspec.json.encode(record).decode()


def installed_modules(view: Reader, keys: Keys) -> dict[str, InstalledModule]:
    """Return the records of installed modules by name; one that cannot be read is left out."""
    found = {}
    for key, record in view.list(keys.installed).items():
        try:
            found[key.removeprefix(keys.installed)] = msgspec.json.decode(
                record.value, type=InstalledModule
            )
        except UNREADABLE:
            continue
    return found


def lacking(
    name: str, record: InstalledModule, reports: Mapping[str, Sequence[ModuleReport]]
) -> dict[str, str]:
    """Return which managers do not have the current version of ``name``, and why.

    ``reports`` are what each manager says of its modules. The reason is empty if it has not said.
    """
    found = {}
    for manager, modules in reports.items():
        report = next((each for each in modules if each.name == name), None)
        if report is None:
            found[manager] = ""
        elif report.package != record.current.digest:
            found[manager] = report.outdated or report.error
    return found


def chunks(keys: Keys, digest: str, data: bytes) -> Iterator[Put]:
    """Yield the writes that store a package."""
    text = base64.b64encode(data).decode()
    for number, start in enumerate(range(0, len(text), CHUNK_CHARS)):
        yield Put(keys.package_chunk(digest, number), text[start : start + CHUNK_CHARS])


def stored_package(view: Reader, keys: Keys, version: PackageVersion) -> bytes:
    """Return the package of ``version`` as it was installed. From any thread.

    Raises:
        InvalidArgumentError: It is not in etcd any more, or was changed there.

    """
    found = view.list(keys.package(version.digest))
    try:
        data = base64.b64decode("".join(each.value for each in found.values()), validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if hashlib.sha256(data).hexdigest() != version.digest:
        raise InvalidArgumentError(
            f"its package {version.short} in etcd is {'damaged' if found else 'missing'}: "
            "install it again"
        )
    return data


def unused_chunks(
    view: Reader, keys: Keys, installed: Mapping[str, InstalledModule]
) -> Sequence[str]:
    """Return the keys of chunks that no record names."""
    used = tuple(
        keys.package(version.digest) for each in installed.values() for version in each.versions
    )
    return [key for key in view.list(keys.packages) if not key.startswith(used)]

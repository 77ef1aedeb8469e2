"""The files of installed modules on this host, and which version of each is used.

Below ``<state_dir>/installed/<cluster>.<id>/``: ``packages/<sha256>/<module>/`` has the files of
one version, ``modules/<module>`` is a link to the version that is used. ``modules`` is searched for
modules after the folders of ``module_path``. A version is written beside its place and moved there,
and the link is replaced, so a module is never seen in part.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mgr.config.installed_modules import (
    MODULES,
    InstalledModule,
    PackageVersion,
    installed_folder,
)
from mgr.errors import InvalidArgumentError
from mgr.host.module_archive import Package, read
from mgr.settings import Settings

PACKAGES: Final = "packages"
COMPILED: Final = "__pycache__"
FILE: Final = "module.py"
SWITCHED_OFF: Final = (
    "this manager takes no packages: set module_install and state_dir in its settings"
)

ReadPackage = Callable[[PackageVersion], bytes]
"""Returns a package as it was installed; raises InvalidArgumentError if that is lost."""


@dataclass(frozen=True, slots=True)
class InstalledFiles:
    """The installed modules of one manager. Methods block, and may be called on any thread.

    Attributes:
        folder: Where they are; None if this manager takes no packages.

    """

    folder: Path | None

    @classmethod
    def of(cls, settings: Settings) -> InstalledFiles:
        """Return those of a manager with ``settings``."""
        return cls(installed_folder(settings))

    def used(self) -> dict[str, str]:
        """Return the digest of the version that is used, by module."""
        links = self._modules.iterdir() if self.folder and self._modules.is_dir() else ()
        return {link.name: digest for link in links if (digest := self.digest_of(link.name))}

    def digest_of(self, name: str) -> str:
        """Return the digest of the version of ``name`` that is used; empty if there is none."""
        if self.folder is None:
            return ""
        try:
            return (self._modules / name).readlink().parts[-2]
        except (OSError, IndexError):
            return ""

    def owns(self, place: str) -> bool:
        """Return whether ``place``, a module's file, is one of an installed module."""
        return self.folder is not None and Path(place).is_relative_to(self._modules)

    def digest_at(self, place: str) -> str:
        """Return the digest of the installed module whose file is ``place``; empty if none is."""
        return self.digest_of(Path(place).parent.name) if self.owns(place) else ""

    def place_of(self, name: str) -> str:
        """Return the file of the installed module ``name``."""
        return str(self._modules / name / FILE)

    def use(self, package: Package) -> None:
        """Write ``package``, unless it is there unchanged, and use it from now on.

        Raises:
            InvalidArgumentError: This manager takes no packages, or the files cannot be written.

        """
        if self.folder is None:
            raise InvalidArgumentError(SWITCHED_OFF)
        try:
            self._modules.mkdir(parents=True, exist_ok=True, mode=0o700)
            target = self.folder / PACKAGES / package.digest / package.name
            if not _is_there(target, package.files):
                self._write(target, package.files)
            self._link(package.name, package.digest)
        except OSError as error:
            raise InvalidArgumentError(f"cannot write below {self.folder}: {error}") from None

    def use_again(self, name: str, digest: str) -> None:
        """Use the version ``digest``, which was used before; empty: none."""
        if digest:
            self._link(name, digest)
        else:
            self.drop(name)

    def drop(self, name: str) -> None:
        """Use no version of ``name`` any more."""
        if self.folder is not None:
            (self._modules / name).unlink(missing_ok=True)

    def remove_except(self, digests: Collection[str]) -> None:
        """Remove the files of all versions but these and those that are used."""
        if self.folder is None:
            return
        keep = {*digests, *self.used().values()}
        for each in (self.folder / PACKAGES).glob("*"):
            if each.name not in keep:
                shutil.rmtree(each, ignore_errors=True)

    def bring_up(
        self, installed: Mapping[str, InstalledModule], package_of: ReadPackage
    ) -> dict[str, str]:
        """Use of each module what its record names, and nothing else; return what failed, and why.

        A module that failed keeps the version that it had.
        """
        if self.folder is not None:
            with contextlib.suppress(OSError):  # a module that needs it says why it is not there
                self._modules.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name in self.used().keys() - installed.keys():
            self.drop(name)
        tried = {
            name: self.bring_up_one(name, record.current, package_of)
            for name, record in installed.items()
        }
        self.remove_except({each.digest for one in installed.values() for each in one.versions})
        return {name: why for name, why in tried.items() if why}

    def bring_up_one(self, name: str, version: PackageVersion, package_of: ReadPackage) -> str:
        """Use this version of ``name``; return why it cannot be used, empty if it is."""
        if self.folder is None:
            return SWITCHED_OFF
        try:
            self.use(checked_package(name, version, package_of))
        except InvalidArgumentError as error:
            return str(error)
        return ""

    @property
    def _modules(self) -> Path:
        if self.folder is None:
            raise AssertionError("only a manager that takes packages has files of them")
        return self.folder / MODULES

    def _link(self, name: str, digest: str) -> None:
        link = self._modules / f".{name}-{os.getpid()}"
        link.unlink(missing_ok=True)
        link.symlink_to(Path("..", PACKAGES, digest, name))
        link.replace(self._modules / name)

    def _write(self, target: Path, files: Mapping[str, bytes]) -> None:
        new = target.parent.with_name(f".{target.parent.name}-{os.getpid()}")
        shutil.rmtree(new, ignore_errors=True)
        try:
            for name, content in files.items():
                file = new / target.name / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
            shutil.rmtree(target.parent, ignore_errors=True)
            new.rename(target.parent)
        finally:
            shutil.rmtree(new, ignore_errors=True)


def checked_package(name: str, version: PackageVersion, package_of: ReadPackage) -> Package:
    """Return the package of ``version``, checked by its hashes.

    Raises:
        InvalidArgumentError: It is damaged, or is not a package of ``name``.

    """
    package = read(package_of(version), digest=version.digest)
    if package.name != name:
        raise InvalidArgumentError(f"its package {version.short} is one of '{package.name}'")
    return package


def _is_there(target: Path, files: Mapping[str, bytes]) -> bool:
    """Return whether ``target`` has these files, unchanged, and no others but compiled ones."""
    there = {
        each.relative_to(target).as_posix()
        for each in target.rglob("*")
        if not each.is_dir() and COMPILED not in each.parts
    }
    return there == files.keys() and all(
        (target / name).read_bytes() == content for name, content in files.items()
    )

"""Downloads Ceph's modules from Debian's packages, in three generations."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from tests.support import debian
from tests.support.ceph import SUITES

MODULES: Final = "ceph-mgr-modules-core"
LIBRARY: Final = "python3-ceph-common"
"""The ``ceph`` package, which modules import."""
FURTHER: Final = tuple(f"ceph-mgr-{what}" for what in ("cephadm", "dashboard", "k8sevents", "rook"))
"""Packages of single modules, which have many dependencies."""
PROGRAM: Final = "cephadm"
"""The program of which the module cephadm reads the file."""
FROM_SOURCE: Final = {
    "20.2": ("cli_api", "feedback", "hello", "mds_autoscaler", "nvmeof", "rgw"),
}
"""Modules that no package has, from the source package: of the newest release only, since the
archive has 250 MB."""
BESIDE: Final = {"16.2": ("python3-pkg-resources",)}
"""Packages that a generation imports and that the index no longer has."""


class NoPackagesError(Exception):
    """The packages cannot be downloaded; the text gives the reason."""


@dataclass(frozen=True)
class Packages:
    """The unpacked packages of one generation."""

    release: str
    root: Path
    more_modules: Path | None = None
    """The folder of the modules that came from the source package."""

    @property
    def program(self) -> Path:
        """The file of the program ``cephadm``."""
        return self.root / "usr/sbin/cephadm"

    @property
    def modules(self) -> Path:
        """The folder of the modules."""
        return self.root / "usr/share/ceph/mgr"

    @property
    def names(self) -> list[str]:
        """The names of its modules."""
        folders = [self.modules, *filter(None, [self.more_modules])]
        return sorted(place.parent.name for each in folders for place in each.glob("*/module.py"))

    @property
    def module_path(self) -> str:
        """The setting ``module_path`` with the modules and the packages they import."""
        folders = [self.modules, *filter(None, [self.more_modules]), self.library]
        return ",".join(map(str, folders))

    @property
    def library(self) -> Path:
        """The folder of the packages that the modules import."""
        return self.root / "usr/lib/python3/dist-packages"


def fetch_packages(release: str, *further: str) -> Packages:
    """Return the modules of ``release``, and those of ``further`` packages; fetched once.

    Raises:
        NoPackagesError: They cannot be had here.

    """
    suite = SUITES[release]
    names = [MODULES, LIBRARY, *BESIDE.get(release, ()), *further]
    home = debian.CACHE / "ceph" / "-".join([suite, *sorted(further)])
    try:
        root = debian.unpacked(suite, names, home)
    except (OSError, subprocess.SubprocessError) as error:
        raise NoPackagesError(f"{' '.join(names)} of Debian {suite}: {error}") from error
    return Packages(release, root)


def fetch_all(release: str) -> Packages:
    """Return every module of ``release`` that can be had, and the program cephadm.

    Raises:
        NoPackagesError: They cannot be had here.

    """
    packages = fetch_packages(release, *FURTHER, PROGRAM)
    names = FROM_SOURCE.get(release, ())
    if not names:
        return packages
    home = debian.CACHE / "ceph" / f"{SUITES[release]}-source"
    patterns = [f"*/src/pybind/mgr/{name}/*" for name in names]
    try:
        root = debian.source_files(SUITES[release], "ceph", patterns, home)
    except (OSError, subprocess.SubprocessError) as error:
        raise NoPackagesError(f"source of ceph of {SUITES[release]}: {error}") from error
    return replace(packages, more_modules=root / "src/pybind/mgr")

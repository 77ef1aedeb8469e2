"""Downloads Ceph's modules from Debian's packages, in three generations."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support import debian

SUITES: Final = {"16.2": "bookworm", "18.2": "trixie", "20.2": "forky"}
"""Ceph's releases, and the release of Debian that packages each."""
MODULES: Final = "ceph-mgr-modules-core"
LIBRARY: Final = "python3-ceph-common"
"""The ``ceph`` package, which modules import."""
FURTHER: Final = tuple(f"ceph-mgr-{what}" for what in ("cephadm", "dashboard", "k8sevents", "rook"))
"""Packages of single modules, which have many dependencies."""
BESIDE: Final = {"16.2": ("python3-pkg-resources",)}
"""Packages that a generation imports and that the index no longer has."""


class NoPackagesError(Exception):
    """The packages cannot be downloaded; the text gives the reason."""


@dataclass(frozen=True)
class Packages:
    """The unpacked packages of one generation."""

    release: str
    root: Path

    @property
    def modules(self) -> Path:
        """The folder of the modules."""
        return self.root / "usr/share/ceph/mgr"

    @property
    def names(self) -> list[str]:
        """The names of its modules."""
        return sorted(place.parent.name for place in self.modules.glob("*/module.py"))

    @property
    def module_path(self) -> str:
        """The setting ``module_path`` with the modules and the packages they import."""
        return f"{self.modules},{self.library}"

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
    home = debian.CACHE / "ceph" / (f"{suite}-further" if further else suite)
    try:
        root = debian.unpacked(suite, names, home)
    except (OSError, subprocess.SubprocessError) as error:
        raise NoPackagesError(f"{' '.join(names)} of Debian {suite}: {error}") from error
    return Packages(release, root)

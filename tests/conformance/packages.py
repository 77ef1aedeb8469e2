"""Real modules that nobody here wrote: Debian's packages of them, in three generations."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support import debian

SUITES: Final = {"16.2": "bookworm", "18.2": "trixie", "20.2": "forky"}
"""Ceph's release, and the release of Debian that has it."""
MODULES: Final = "ceph-mgr-modules-core"
LIBRARY: Final = "python3-ceph-common"
"""The ``ceph`` package, which modules import."""
FURTHER: Final = tuple(f"ceph-mgr-{what}" for what in ("cephadm", "dashboard", "k8sevents", "rook"))
"""Packages of single modules, with many needs of their own."""
BESIDE: Final = {"16.2": ("python3-pkg-resources",)}
"""What a generation imports that the index has dropped since."""


class NoPackagesError(Exception):
    """They cannot be had; the text says why."""


@dataclass(frozen=True)
class Packages:
    """One generation, unpacked."""

    release: str
    root: Path

    @property
    def modules(self) -> Path:
        """Where the modules are."""
        return self.root / "usr/share/ceph/mgr"

    @property
    def names(self) -> list[str]:
        """Every module of it."""
        return sorted(place.parent.name for place in self.modules.glob("*/module.py"))

    @property
    def module_path(self) -> str:
        """The setting that has them found, and what they import with them."""
        return f"{self.modules},{self.library}"

    @property
    def library(self) -> Path:
        """Where the packages are that they import."""
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

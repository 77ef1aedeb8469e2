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
        return f"{self.modules},{self.root / 'usr/lib/python3/dist-packages'}"


def fetched(release: str) -> Packages:
    """Return the modules of ``release``; fetched once.

    Raises:
        NoPackagesError: They cannot be had here.

    """
    suite = SUITES[release]
    names = [MODULES, LIBRARY, *BESIDE.get(release, ())]
    try:
        root = debian.unpacked(suite, names, debian.CACHE / "ceph" / suite)
    except (OSError, subprocess.SubprocessError) as error:
        raise NoPackagesError(f"{' '.join(names)} of Debian {suite}: {error}") from error
    return Packages(release, root)

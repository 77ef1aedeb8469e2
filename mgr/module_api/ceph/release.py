"""The Ceph release whose module interface is implemented, and the version line."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from mgr.version import installed_version


class CephReleases(IntEnum):
    """Ceph's releases, in order."""

    argonaut = 1
    bobtail = 2
    cuttlefish = 3
    dumpling = 4
    emperor = 5
    firefly = 6
    giant = 7
    hammer = 8
    infernalis = 9
    jewel = 10
    kraken = 11
    luminous = 12
    mimic = 13
    nautilus = 14
    octopus = 15
    pacific = 16
    quincy = 17
    reef = 18
    squid = 19
    maximum = 20


RELEASE: Final = "tentacle"
"""The release whose interface is implemented. In ``CephReleases`` it is ``maximum``, as in Ceph."""


def version_line(number: str = "") -> str:
    """Return a version line as Ceph's daemons report it: the third word is the version number.

    The number is ``number``, by default that of this manager.
    """
    return f"mgr version {number or installed_version()} (ceph-mgr interface) {RELEASE} (stable)"


def lookup_release_name(major: int) -> str:
    """Return the name of a release; ``unknown`` above the table, ``unspecified`` below 0."""
    if major < 0:
        return "unspecified"
    if major == CephReleases.maximum:
        return RELEASE
    return CephReleases(major).name if 0 < major < CephReleases.maximum else "unknown"

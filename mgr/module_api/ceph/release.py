"""Which release of the module interface this manager speaks, in the form modules ask for it."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from mgr.version import installed_version


class CephReleases(IntEnum):
    """The releases, in order."""

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
"""The release whose interface this is. ``CephReleases`` names it ``maximum``, as there."""


def version_line(number: str = "") -> str:
    """A line of the form in which daemons say their version: the third word is the number.

    That of this manager, or ``number``.
    """
    return f"mgr version {number or installed_version()} (ceph-mgr interface) {RELEASE} (stable)"


def lookup_release_name(major: int) -> str:
    """The name of release ``major``: ``unknown`` beyond the table, ``unspecified`` below 0."""
    if major < 0:
        return "unspecified"
    if major == CephReleases.maximum:
        return RELEASE
    return CephReleases(major).name if 0 < major < CephReleases.maximum else "unknown"

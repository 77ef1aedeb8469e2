"""Decide whether this manager is eligible to lead on its etcd cluster.

The decision depends on the identity of the cluster, on its etcd version, on the mgrd version that
led last (an older mgrd may not understand data that a newer one wrote), and on whether the cluster
demands authentication, which this manager may not be able to verify.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from mgr.election.records import Presence
from mgr.errors import NotFoundError, NotPermittedError
from mgr.store.api import StoreStatus
from mgr.store.identity import StoreIdentity

TRUSTED_FROM: Final = ((3, 5, 28), (3, 6, 9), (3, 7, 0))
"""The first etcd version of each release line that renews no revoked lease and serves no stale
read."""

CANNOT_AUTHENTICATE: Final = (
    "this cluster demands authentication, and without tls_ca this manager cannot verify who its "
    "clients are: set tls_ca, tls_cert and tls_key"
)
"""Why a manager whose clients show no certificates is not eligible in a protected cluster."""

_NUMBERS: Final = re.compile(r"\d+(?:\.\d+)*")
_VERSION: Final = re.compile(r"(\d+)\.(\d+)\.(\d+)")


class Eligibility:
    """Collects the reasons why this manager must not lead."""

    def __init__(
        self, version: str, *, untrusted: bool, downgrade: bool, authenticates: bool = False
    ) -> None:
        """Decide for a manager that runs mgrd ``version``.

        With ``untrusted`` it may lead on any etcd version (a setting for tests); with
        ``downgrade``, after a leader of any mgrd version; with ``authenticates``, where clients
        must authenticate.
        """
        self._version = version
        self._untrusted = untrusted
        self._downgrade = downgrade
        self._authenticates = authenticates
        self.identity = StoreIdentity()
        """The known identity of the etcd cluster: its id, the newest revision and term."""
        self._store_version_reason = ""
        self._downgrade_reason = ""
        self._protection_reason = ""

    @property
    def reason(self) -> str:
        """Why this manager is not eligible, in words for an operator; empty if it is eligible."""
        return (
            self.identity.trouble
            or self._store_version_reason
            or self._downgrade_reason
            or self._protection_reason
        )

    def check_store(self, status: StoreStatus) -> None:
        """Update the decision from the etcd version in ``status``.

        An unknown version is accepted: only versions that may lead refuse to tell it.
        """
        self._store_version_reason = self._check_store_version(status)

    def check_leader_version(self, version: str) -> None:
        """Update the decision from the mgrd ``version`` that led last; empty if none ever led."""
        older = version_numbers(self._version) < version_numbers(version) and not self._downgrade
        self._downgrade_reason = (
            f"mgrd {version} has led here, this is {self._version}, which may not understand what "
            "that one wrote: upgrade, or set downgrade = true"
            if older
            else ""
        )

    def check_protection(self, *, required: bool) -> None:
        """Update the decision: does the cluster demand that clients authenticate?"""
        self._protection_reason = (
            CANNOT_AUTHENTICATE if required and not self._authenticates else ""
        )

    def _check_store_version(self, status: StoreStatus) -> str:
        if self._untrusted or not status.version or is_trusted(status.version):
            return ""
        return (
            f"etcd {status.version} must not decide who leads, its leases and reads have known "
            "defects: use 3.5.28, 3.6.9 or newer (for tests only: etcd_untrusted = true)"
        )


def version_numbers(version: str) -> tuple[int, ...]:
    """Return the numbers at the beginning of ``version``, which order versions.

    A version without numbers gives an empty tuple, which sorts before all others.
    """
    found = _NUMBERS.match(version)
    return tuple(map(int, found[0].split("."))) if found else ()


def is_trusted(version: str) -> bool:
    """Whether managers may elect a leader on this etcd version; False if it is unreadable."""
    numbers = _VERSION.match(version)
    if numbers is None:
        return False
    found = tuple(int(number) for number in numbers.groups())
    line = [first for first in TRUSTED_FROM if first[:2] == found[:2]]
    return found >= line[0] if line else found > TRUSTED_FROM[-1]


def check_successor(name: str, presences: Sequence[Presence], *, own: str) -> None:
    """Raise unless the manager ``name`` can take over leadership from ``own``.

    Raises:
        NotFoundError: ``name`` is no warm standby; the message lists the warm standbys.
        NotPermittedError: ``name`` runs an older version, which may not read what was written.

    """
    versions = {each.name: each.version for each in presences}
    warm = sorted({each.name for each in presences if each.warm} - {own})
    if name not in warm:
        known = ", ".join(warm) or "there is none"
        raise NotFoundError(f"manager {name!r} is no warm standby: {known}")
    theirs, ours = versions[name], versions.get(own, "")
    if version_numbers(theirs) < version_numbers(ours):
        raise NotPermittedError(
            f"manager {name!r} runs {theirs}, which is older than {ours} here: it would not lead"
        )

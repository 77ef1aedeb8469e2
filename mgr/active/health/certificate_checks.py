"""Functions that return health checks about certificates and listeners without protection."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from mgr.election.records import Presence
from mgr.health.check import Check, Severity
from mgr.link import CertificateReport

UNPROTECTED: Final = "MGR_UNPROTECTED"
CERTIFICATE_EXPIRES: Final = "MGR_CERTIFICATE_EXPIRES"
NO_SIGNER: Final = "MGR_NO_SIGNER"
RENEWED_LATE_AT: Final = 0.25
"""A certificate that renews itself does so at half of its lifetime. With this share left it has
failed to for long."""


@dataclass(frozen=True, slots=True)
class ExpiryLimits:
    """How long before a certificate's end health warns of it, and when it is an error."""

    warn: dt.timedelta
    error: dt.timedelta


def unprotected_checks(managers: Iterable[Presence]) -> list[Check]:
    """Return a warning while managers listen beyond loopback without TLS and authentication."""
    lines = tuple(
        f"mgr.{each.name}: {' and '.join(each.unprotected)} is open to the network without TLS and "
        "client certificates (unprotected = true): whoever reaches it controls the cluster"
        for each in managers
        if each.unprotected
    )
    if not lines:
        return []
    many = f"{len(lines)} managers are open to the network without protection"
    return [
        Check(
            code=UNPROTECTED,
            severity=Severity.WARN,
            summary=lines[0] if len(lines) == 1 else many,
            count=len(lines),
            detail=lines,
        )
    ]


def signer_checks(managers: Iterable[Presence], *, cluster_signs: bool) -> list[Check]:
    """Return a warning while the cluster has a CA of its own and no manager that can sign."""
    if not cluster_signs or any(each.signs for each in managers):
        return []
    line = "no manager has the passphrase of the CA's key: no certificate is signed or renewed"
    return [Check(code=NO_SIGNER, severity=Severity.WARN, summary=line, count=1, detail=(line,))]


def certificate_checks(
    managers: Iterable[Presence], now: dt.datetime, limits: ExpiryLimits
) -> list[Check]:
    """Return a warning, or an error, while certificates of managers are about to end."""
    found = sorted(_expiring(managers, now, limits))
    if not found:
        return []
    lines = tuple(line for _, line, _ in found)
    many = f"{len(lines)} certificates are about to end"
    return [
        Check(
            code=CERTIFICATE_EXPIRES,
            severity=Severity.ERR if any(urgent for *_, urgent in found) else Severity.WARN,
            summary=lines[0] if len(lines) == 1 else many,
            count=len(lines),
            detail=lines,
        )
    ]


def _expiring(
    managers: Iterable[Presence], now: dt.datetime, limits: ExpiryLimits
) -> Iterator[tuple[dt.datetime, str, bool]]:
    for manager in managers:
        for report in manager.certificates:
            try:
                begins = dt.datetime.fromisoformat(report.begins_at)
                ends = dt.datetime.fromisoformat(report.ends_at)
            except ValueError:
                continue  # written by another release
            warn, error = _limits_of(report, ends - begins, limits)
            if ends - now > warn:
                continue
            ended = "ended" if ends <= now else "ends"
            line = f"{report.setting} of mgr.{manager.name} {ended} at {ends:%Y-%m-%d %H:%M} UTC"
            if report.renews:
                line += ", though it renews itself: that manager's log has the reason"
            yield ends, line, ends - now <= error


def _limits_of(
    report: CertificateReport, lifetime: dt.timedelta, limits: ExpiryLimits
) -> tuple[dt.timedelta, dt.timedelta]:
    if not report.renews:
        return limits.warn, limits.error
    late = lifetime * RENEWED_LATE_AT
    return min(limits.warn, late), min(limits.error, late / 2)

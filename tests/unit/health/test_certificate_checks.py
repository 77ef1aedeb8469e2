"""Certificates that are about to end, and listeners without protection, are in health."""

from __future__ import annotations

import datetime as dt

import pytest
from msgspec import structs

from mgr.active.health.certificate_checks import (
    ExpiryLimits,
    certificate_checks,
    signer_checks,
    unprotected_checks,
)
from mgr.election.records import Presence
from mgr.health.check import Severity
from mgr.link import CertificateReport

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
LIMITS = ExpiryLimits(30 * DAY, 7 * DAY)


def manager(name="a", unprotected=(), **ends):
    reports = tuple(
        CertificateReport(
            setting=setting,
            begins_at=(NOW - (lifetime - left) * DAY).isoformat(),
            ends_at=(NOW + left * DAY).isoformat(),
            renews=renews,
        )
        for setting, (lifetime, left, renews) in ends.items()
    )
    return Presence(
        name=name,
        incarnation="i",
        host="h",
        boot_id="b",
        pid_namespace="n",
        pid=1,
        pid_started=1,
        grpc_address="h:1",
        http_address="h:2",
        version="1",
        certificates=reports,
        unprotected=unprotected,
    )


@pytest.mark.parametrize(
    ("lifetime", "left", "renews", "severity"),
    [
        (365, 31, False, None),
        (365, 30, False, Severity.WARN),
        (365, 7, False, Severity.ERR),
        (365, -1, False, Severity.ERR),
        # Renewed at half of its lifetime: with a quarter left it has failed to for long.
        (20, 9, True, None),
        (20, 5, True, Severity.WARN),
        (20, 2, True, Severity.ERR),
        (90, 30, True, None),
        (90, 22, True, Severity.WARN),
    ],
)
def test_a_certificate_is_warned_of_before_it_ends(lifetime, left, renews, severity):
    """One that renews itself only when it has failed to."""
    found = certificate_checks([manager(tls_cert=(lifetime, left, renews))], NOW, LIMITS)

    assert [each.severity for each in found] == ([severity] if severity else [])
    assert all("tls_cert of mgr.a end" in each.summary for each in found)


def test_several_are_one_check_with_a_line_each():
    """The one that ends first is the first."""
    [check] = certificate_checks(
        [manager("a", tls_ca=(3650, 20, False)), manager("b", etcd_cert=(365, 3, False))],
        NOW,
        LIMITS,
    )

    assert (check.count, check.severity) == (2, Severity.ERR)
    assert [line.split(" end")[0] for line in check.detail] == [
        "etcd_cert of mgr.b",
        "tls_ca of mgr.a",
    ]


def test_an_unreadable_report_does_no_harm():
    """Another release may write other times."""
    odd = CertificateReport(setting="tls_cert", begins_at="soon", ends_at="late")
    presence = manager()

    assert (
        certificate_checks(
            [
                type(presence)(
                    **{name: getattr(presence, name) for name in presence.__struct_fields__}
                    | {"certificates": (odd,)}
                )
            ],
            NOW,
            LIMITS,
        )
        == []
    )


def test_unprotected_listeners_are_named():
    """Each manager has a line; without any there is no check."""
    [check] = unprotected_checks(
        [manager("a"), manager("b", unprotected=("grpc_listen 0.0.0.0:1",))]
    )

    assert check.code == "MGR_UNPROTECTED"
    assert check.detail[0].startswith("mgr.b: grpc_listen 0.0.0.0:1 is open to the network")
    assert unprotected_checks([manager("a")]) == []


@pytest.mark.parametrize(
    ("cluster_signs", "signers", "raised"),
    [(True, [False, True], False), (True, [False, False], True), (False, [False], False)],
)
def test_a_cluster_without_a_signer_is_warned_of(cluster_signs, signers, raised):
    """Unless it has no CA of its own, or the operator keeps the key."""
    managers = [structs.replace(manager(), signs=signs) for signs in signers]

    found = signer_checks(managers, cluster_signs=cluster_signs)

    assert [each.code for each in found] == (["MGR_NO_SIGNER"] if raised else [])

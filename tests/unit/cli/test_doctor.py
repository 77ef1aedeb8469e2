"""``mgrctl doctor``: what it makes of what it learned."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from mgr.cli.doctor.checks import findings_of
from mgr.cli.doctor.command import status_of
from mgr.cli.doctor.facts import Certificate, Facts, Sample
from mgr.client.messages import ManagerInfo, Status

NOW = datetime(2026, 1, 1, tzinfo=UTC)
A, B = "h:1", "h:2"
ETCD = {
    "endpoint": "e:1", "reachable": True, "error": "", "name": "e1", "version": "3.6.1",
    "leader": True, "latency_ms": 1.0, "bytes": 10, "quota_bytes": 100,
}  # fmt: skip


def status(name, phase="standby", **more):
    """What a manager says."""
    active = ManagerInfo("a", A, "", term=7)
    standby = ManagerInfo("b", B, "", warm=True)
    known = {
        "name": name, "cluster": "c", "version": "1", "incarnation": f"{name}-1", "phase": phase,
        "note": "", "active": active, "standbys": (standby,), "view_age_s": 0.1, "clock_s": 50.0,
        "at": NOW,
    }  # fmt: skip
    return Status(**(known | more))


def samples(found, *, span_s=2.0, rate=1.0, latency_s=0.002):
    """Two answers of a manager whose clock runs at ``rate``."""
    late = replace(found, clock_s=found.clock_s + span_s * rate)
    at = NOW.timestamp()
    return [
        Sample(found, 100.0, 100.0 + latency_s, at),
        Sample(late, 100.0 + span_s, 100.0 + span_s + latency_s, at),
    ]


def facts(**more):
    """A healthy cluster, but for ``more``."""
    healthy = {
        "samples": {A: samples(status("a", "active")), B: samples(status("b"))},
        "documents": {
            "etcd status": [ETCD, ETCD | {"leader": False}, ETCD | {"leader": False}],
            "mgr compare": {"managers": ["a", "b"], "differences": []},
            "mgr metadata": [{"name": "a"}, {"name": "b"}],
            "config dump": [],
            "health detail": {"status": "HEALTH_OK", "checks": {}},
        },
        "certificates": (Certificate("me.pem", NOW + timedelta(days=30)),),
        "client_version": "1",
        "now": NOW,
    }
    documents = healthy["documents"] | more.pop("documents", {})
    return Facts(**(healthy | {"documents": documents} | more))


def found(**more):
    """Severity, subject and line of each finding."""
    return [(each.severity, each.subject, each.line()) for each in findings_of(facts(**more))]


def test_a_healthy_cluster_has_no_finding():
    """Nor does one with differences that mean nothing."""
    assert found() == []
    assert status_of([]) == 0


def option(section, name, value, level="advanced"):
    return {"section": section, "name": name, "value": value, "level": level}


@pytest.mark.parametrize(
    ("more", "severity", "subject", "text"),
    [
        ({"samples": {A: samples(status("a", "active")), B: "refused"}}, "error", "reach",
         "h:2 does not answer: refused"),
        ({"samples": {A: samples(status("a", "active"), latency_s=0.9)}}, "warning", "reach",
         "took 0.9 s"),
        ({"samples": {A: samples(status("a", note="set down"))}}, "error", "leadership",
         "set down"),
        ({"samples": {A: samples(status("a", "active", standbys=()))}}, "warning", "leadership",
         "no warm standby"),
        ({"samples": {A: samples(status("a", "active", view_age_s=9.0))}}, "error", "leadership",
         "no answer from etcd for 9 s"),
        ({"samples": {A: samples(status("a", "active")), B: samples(status("b", version="2"))}},
         "warning", "versions", "1: mgr.a; 2: mgr.b"),
        ({"client_version": "2"}, "note", "versions", "this mgrctl is 2"),
        ({"certificates": (Certificate("x", NOW),)}, "error", "certificates", "x ended"),
        ({"certificates": (Certificate("x", NOW + timedelta(days=2)),)}, "warning",
         "certificates", "ends in 2 days"),
        ({"certificates": (Certificate("x", error="unknown ca"),)}, "error", "certificates",
         "unknown ca"),
        ({"samples": {A: samples(status("a", "active"), rate=1.005)}}, "warning", "clocks",
         "+0.50 %"),
        ({"samples": {A: samples(status("a", "active"), rate=0.95)}}, "error", "clocks",
         "-5.00 %"),
        ({"samples": {A: samples(status("a", "active", at=NOW + timedelta(seconds=9)))}},
         "warning", "clocks", "+9.0 s off"),
        ({"documents": {"etcd status": [ETCD, ETCD, ETCD | {"reachable": False, "error": "gone"}]}},
         "error", "etcd", "gone"),
        ({"documents": {"etcd status": [ETCD | {"bytes": 75}, ETCD, ETCD]}}, "warning", "etcd",
         "75 %"),
        ({"documents": {"etcd status": [ETCD | {"bytes": 90}, ETCD, ETCD]}}, "error", "etcd",
         "90 %"),
        ({"documents": {"etcd status": [ETCD | {"latency_ms": 300.0}, ETCD, ETCD]}}, "warning",
         "etcd", "300 ms"),
        ({"documents": {"etcd status": [ETCD | {"leader": False}] * 3}}, "warning", "etcd",
         "none of the servers"),
        ({"documents": {"etcd status": [ETCD, ETCD, ETCD | {"version": "3.5.9"}]}}, "warning",
         "etcd", "3.5.9, 3.6.1"),
        ({"samples": {A: samples(status("a", "active")), B: samples(status("b", note="old"))}},
         "warning", "leadership", "mgr.b cannot lead: old"),
        ({"documents": {"etcd status": [ETCD]}}, "note", "etcd", "1 server"),
        ({"documents": {"etcd status": [ETCD, ETCD, ETCD | {"error": "only for root"}]}},
         "note", "etcd", "size and leader of e:1 are unknown: only for root"),
        ({"documents": {"mgr compare": {"differences": [
            {"kind": "setting", "name": "hold_s", "values": {"a": "5.0", "b": "4.0"}}]}}},
         "warning", "settings", "hold_s differs (mgr.a: 5.0; mgr.b: 4.0)"),
        ({"documents": {"mgr compare": {"differences": [
            {"kind": "module", "name": "hello", "values": {"a": "1f", "b": "absent"}}]}}},
         "warning", "modules", "files of 'hello' differ"),
        ({"documents": {"config dump": [option("mgr", "x", "1", "unknown")]}}, "warning",
         "options", "'mgrctl config rm mgr x'"),
        ({"documents": {"config dump": [option("mgr.z", "x", "1")]}}, "note", "options",
         "mgr.z, which does not run"),
        ({"documents": {"config dump": [option("mgr", "x", "1"), option("global", "x", "2")]}},
         "note", "options", "hides '2' of global"),
        ({"documents": {"health detail": {"checks": {"CODE": {
            "severity": "HEALTH_ERR", "summary": {"message": "bad"}, "muted": False}}}}},
         "error", "health", "CODE: bad"),
        ({"documents": {"config dump": "no"}}, "warning", "access", "1 of 5 questions"),
    ],
)  # fmt: skip
def test_a_fault_is_found_and_says_what_to_do(more, severity, subject, text):
    """One line each: what, and what to do about it."""
    [finding] = [each for each in found(**more) if text in each[2]]

    assert finding[:2] == (severity, subject)
    assert " -> " in finding[2]
    assert "\n" not in finding[2]


@pytest.mark.parametrize(
    "more",
    [
        # A slow answer says nothing about a rate.
        {"samples": {A: samples(status("a", "active"), rate=1.05, latency_s=0.2)}},
        # Another process, perhaps on another host.
        {"samples": {A: [samples(status("a", "active"))[0],
                         samples(status("a", "active", incarnation="a-2"), rate=9)[1]]}},
        # A version that does not tell.
        {"samples": {A: [Sample(status("a", "active", clock_s=None, at=None), 1, 2, 3)]}},
        {"documents": {"health detail": {"checks": {"CODE": {
            "severity": "HEALTH_ERR", "summary": {"message": "bad"}, "muted": True}}}}},
        # The check of the versions names it.
        {"documents": {"mgr compare": {"differences": [
            {"kind": "version", "name": "mgrd", "values": {"a": "1", "b": "2"}}]}}},
        {"documents": {"config dump": [option("mgr", "x", "1"), option("global", "x", "1")]}},
        {"documents": {"config dump": [option("mgr.a", "x", "1"), option("mgr", "x", "2")]}},
    ],
)  # fmt: skip
def test_what_is_no_fault_is_not_found(more):
    """A doctor who always finds something is not asked again."""
    assert [
        each for each in found(**more) if each[1] in {"clocks", "health", "options", "settings"}
    ] == []


def test_the_status_is_that_of_the_worst_and_errors_come_first():
    """For scripts: 2, 1, 0."""
    findings = findings_of(
        facts(
            client_version="2",
            certificates=(Certificate("x", NOW + timedelta(days=1)), Certificate("y", NOW)),
        )
    )

    assert [each.severity for each in findings] == ["error", "warning", "note"]
    assert [status_of(findings[n:]) for n in range(3)] == [2, 1, 0]

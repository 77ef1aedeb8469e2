"""The checks of ``mgrctl doctor``: each turns facts into findings. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from mgr.cli import without_active
from mgr.cli.doctor.facts import Facts, Finding, Sample, Severity

Problem = tuple[Severity, str, str]
"""Severity, what is wrong, and what to do about it."""
Check = Callable[[Facts], Iterator[Problem]]

RATE_WARNING: Final = 0.001
RATE_ERROR: Final = 0.01
"""Leases and deadlines allow for clocks that run 1 % apart (docs/explanation/failover.md)."""
OFFSET_S: Final = 2.0
SLOW_S: Final = 0.5
ENDS_SOON_DAYS: Final = 7
SIZE_WARNING: Final = 0.7
SIZE_ERROR: Final = 0.8
"""Share of etcd's quota above which no more data of clients is stored (``mgr.store.space``)."""
ETCD_SLOW_MS: Final = 100.0
OWN_SECTIONS: Final = frozenset({"global", "mgr"})


def reach(facts: Facts) -> Iterator[Problem]:
    """Every manager answers, and quickly."""
    for address, found in facts.samples.items():
        if isinstance(found, str):
            yield (
                "error",
                f"{address} does not answer: {found}",
                "start that manager, or correct its address and what lies between",
            )
        elif min(sample.latency_s for sample in found) > SLOW_S:
            slow = min(sample.latency_s for sample in found)
            yield (
                "warning",
                f"{address} took {slow:.1f} s to answer",
                "look at the load of its host, and at the network between",
            )


def leadership(facts: Facts) -> Iterator[Problem]:
    """One manager leads, and another one is ready to."""
    found = dict(facts.latest)
    if without_active.nobody_leads(found):
        yield ("error", without_active.summary(found), "see the reason of each manager")
        return
    leaders = {status.name for status in found.values() if status.phase in without_active.LEADING}
    warm = {each.name for status in found.values() for each in status.standbys if each.warm}
    if leaders and not warm - leaders:
        yield (
            "warning",
            "no warm standby: nobody takes over if the active fails",
            "start a second manager on another host",
        )
    for status in found.values():
        if status.note and status.phase not in without_active.LEADING:
            yield (
                "warning",
                f"mgr.{status.name} cannot lead: {status.note}",
                "see 'mgrctl health detail', and the log of that manager",
            )
        if status.view_age_s is not None and status.view_age_s > without_active.ETCD_SILENT_S:
            yield (
                "error",
                f"mgr.{status.name} had no answer from etcd for {status.view_age_s:.0f} s",
                "see 'mgrctl etcd status' and the log of that manager",
            )


def versions(facts: Facts) -> Iterator[Problem]:
    """All managers, and this client, have one version."""
    by_version: dict[str, list[str]] = {}
    for status in facts.latest.values():
        by_version.setdefault(status.version, []).append(f"mgr.{status.name}")
    if len(by_version) > 1:
        listed = "; ".join(f"{each}: {', '.join(who)}" for each, who in sorted(by_version.items()))
        yield ("warning", f"managers differ: {listed}", "finish the upgrade")
    if by_version and facts.client_version and facts.client_version not in by_version:
        yield (
            "note",
            f"this mgrctl is {facts.client_version}, the managers {', '.join(sorted(by_version))}",
            "use the mgrctl of the managers' version",
        )


def certificates(facts: Facts) -> Iterator[Problem]:
    """No certificate has ended, or will soon."""
    for each in facts.certificates:
        if each.error or each.ends_at is None:
            yield ("error", f"{each.subject}: {each.error}", "see docs/how-to/secure-cluster.md")
            continue
        left = each.ends_at - facts.now
        if left.total_seconds() <= 0:
            yield (
                "error",
                f"{each.subject} ended {each.ends_at:%Y-%m-%d %H:%M}",
                "renew it ('mgrd issue', 'mgrctl auth join-token create')",
            )
        elif left.days < ENDS_SOON_DAYS:
            yield (
                "warning",
                f"{each.subject} ends in {left.days} days, {each.ends_at:%Y-%m-%d}",
                "renew it, or see why it does not renew itself",
            )


def clocks(facts: Facts) -> Iterator[Problem]:
    """All clocks run at the same rate, and show about the same time."""
    for address, samples in facts.answered.items():
        name = f"mgr.{samples[-1].status.name} ({address})"
        rate, doubt = _rate(samples)
        if rate is not None and abs(rate) - doubt > RATE_WARNING:
            severity: Severity = "error" if abs(rate) - doubt > RATE_ERROR else "warning"
            yield (
                severity,
                f"the clock of {name} runs {100 * rate:+.2f} % against this machine's",
                "correct its clock source: leases count on rates within 1 %",
            )
        offset_s = _offset_s(samples[-1])
        if offset_s is not None and abs(offset_s) > OFFSET_S + samples[-1].latency_s:
            yield (
                "warning",
                f"the time of {name} is {offset_s:+.1f} s off this machine's",
                "run NTP on both: certificates, tokens and logs go by it, leadership does not",
            )


def etcd(facts: Facts) -> Iterator[Problem]:
    """Every server of etcd answers, has room, and one leads."""
    members = _list(facts, "etcd status")
    if not members:
        return
    yield from _without_state(members)
    for each in members:
        name = f"{each['name'] or '-'} ({each['endpoint']})"
        share = each["bytes"] / each["quota_bytes"] if each["quota_bytes"] else 0.0
        if share >= SIZE_WARNING:
            yield (
                "error" if share >= SIZE_ERROR else "warning",
                f"{name} has used {100 * share:.0f} % of its quota",
                "compact and defragment it, or raise --quota-backend-bytes",
            )
        if each["reachable"] and each["latency_ms"] > ETCD_SLOW_MS:
            yield (
                "warning",
                f"{name} took {each['latency_ms']:.0f} ms to answer",
                "give it a disk and processors of its own",
            )
    up = [each for each in members if each["reachable"] and not each["error"]]
    if up and not any(each["leader"] for each in up):
        yield (
            "warning",
            "none of the servers that were asked leads",
            "name all servers of etcd in the managers' setting etcd",
        )
    if len({each["version"] for each in up if each["version"]}) > 1:
        listed = ", ".join(sorted({each["version"] for each in up}))
        yield ("warning", f"its servers differ: {listed}", "finish the upgrade")
    if len(members) in {1, 2}:
        yield (
            "note",
            f"{len(members)} server: the loss of one stops the cluster",
            "run three servers, and name all in the setting etcd",
        )


def _without_state(members: list[dict[str, Any]]) -> Iterator[Problem]:
    for each in members:
        if not each["reachable"]:
            yield (
                "error",
                f"{each['endpoint']} does not answer: {each['error']}",
                "start it; etcd stops when half of its servers are down",
            )
        elif each["error"]:
            yield (
                "note",
                f"size and leader of {each['endpoint']} are unknown: {each['error']}",
                "see 'etcdctl endpoint status', as such a user",
            )


def modules(facts: Facts) -> Iterator[Problem]:
    """The files of each module are the same on every manager."""
    for name, values in _differences(facts, "module"):
        yield (
            "warning",
            f"the files of '{name}' differ ({values})",
            "install the same files on every host, then 'mgrctl mgr module reload'",
        )


def settings(facts: Facts) -> Iterator[Problem]:
    """Settings that should be the same on every manager are the same."""
    for name, values in _differences(facts, "setting"):
        yield (
            "warning",
            f"{name} differs ({values})",
            "set it to one value on every manager, and restart those that change",
        )


def options(facts: Facts) -> Iterator[Problem]:
    """Every option that is set is known, has an effect, and is not overridden by another."""
    stored = _list(facts, "config dump")
    managers = {f"mgr.{each['name']}" for each in _list(facts, "mgr metadata")}
    sections: dict[str, dict[str, str]] = {}
    for each in stored:
        sections.setdefault(each["name"], {})[each["section"]] = each["value"]
        remove = f"'mgrctl config rm {each['section']} {each['name']}'"
        if each["level"] == "unknown":
            yield (
                "warning",
                f"{each['name']} is set for {each['section']}, and no module declares it",
                f"{remove}, or install the module",
            )
        if each["section"].startswith("mgr.") and managers and each["section"] not in managers:
            yield (
                "note",
                f"{each['name']} is set for {each['section']}, which does not run",
                f"{remove} if it never comes back",
            )
    for name, by_section in sections.items():
        if by_section.keys() >= OWN_SECTIONS and len({by_section[s] for s in OWN_SECTIONS}) > 1:
            shown, hidden = by_section["mgr"], by_section["global"]
            text = f"{name} is '{shown}' for mgr, which hides '{hidden}' of global"
            yield ("note", text, f"'mgrctl config rm global {name}', or the one for mgr")


def health(facts: Facts) -> Iterator[Problem]:
    """No health check is raised."""
    document = facts.documents.get("health detail")
    checks: Mapping[str, Any] = document.get("checks", {}) if isinstance(document, dict) else {}
    for code, each in checks.items():
        if not each.get("muted"):
            severity: Severity = "error" if each["severity"] == "HEALTH_ERR" else "warning"
            yield (
                severity,
                f"{code}: {each['summary']['message']}",
                "'mgrctl health detail', and docs/reference/log-and-health.md",
            )


def access(facts: Facts) -> Iterator[Problem]:
    """Every question to the active was answered."""
    refused = Counter(str(each) for each in facts.documents.values() if isinstance(each, str))
    for why, count in refused.items():
        yield (
            "warning",
            f"{count} of {len(facts.documents)} questions got no answer: {why}",
            "ask an administrator for 'allow r'" if "allow" in why else "repeat it",
        )


CHECKS: Final[Mapping[str, Check]] = {
    "reach": reach,
    "leadership": leadership,
    "versions": versions,
    "certificates": certificates,
    "clocks": clocks,
    "etcd": etcd,
    "modules": modules,
    "settings": settings,
    "options": options,
    "health": health,
    "access": access,
}
"""By the subject that each finding begins with."""


def findings_of(facts: Facts) -> list[Finding]:
    """Return all findings, the most severe first."""
    order: dict[Severity, int] = {"error": 0, "warning": 1, "note": 2}
    found = [
        Finding(severity, subject, text, advice)
        for subject, check in CHECKS.items()
        for severity, text, advice in check(facts)
    ]
    return sorted(found, key=lambda each: order[each.severity])


def _differences(facts: Facts, kind: str) -> Iterator[tuple[str, str]]:
    """Yield what of ``kind`` differs between managers, and the value on each of them."""
    document = facts.documents.get("mgr compare")
    for each in document["differences"] if isinstance(document, dict) else ():
        if each["kind"] == kind:
            values = each["values"].items()
            yield each["name"], "; ".join(f"mgr.{name}: {value or '-'}" for name, value in values)


def _list(facts: Facts, words: str) -> list[dict[str, Any]]:
    found = facts.documents.get(words)
    return found if isinstance(found, list) else []


def _rate(samples: list[Sample]) -> tuple[float | None, float]:
    """Return the rate of a clock relative to ours, above 0 if faster, and its uncertainty."""
    first, last = samples[0], samples[-1]
    if first.status.clock_s is None or last.status.clock_s is None or first is last:
        return None, 0.0
    if first.status.incarnation != last.status.incarnation:
        return None, 0.0
    ours = (last.answered_s + last.asked_s - first.answered_s - first.asked_s) / 2
    if ours <= 0:
        return None, 0.0
    theirs = last.status.clock_s - first.status.clock_s
    return theirs / ours - 1, (first.latency_s + last.latency_s) / 2 / ours


def _offset_s(sample: Sample) -> float | None:
    at = sample.status.at
    return None if at is None else at.timestamp() - (sample.wall_s - sample.latency_s / 2)

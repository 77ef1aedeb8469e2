"""What protection costs: commands with mutual TLS, capabilities and audit on, beside without.

Two managers run at the same time and are asked in turn, by the same client.
"""

from __future__ import annotations

import asyncio
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from bench.report import Report
from bench.setting import Setting
from mgr.client.async_client import AsyncClient
from mgr.clock import CLOCK
from mgr.tls import Tls
from tests.support.cluster import MGRD
from tests.support.secured_etcd import Certificates

ROUNDS: Final = 5
MESSAGES: Final = 600
ADMIN: Final = "ops"
CLIENT: Final = "bench"
TARGET: Final = "<= 1.25 x without"
COMMANDS: Final = {"a command that reads": ["probe", "nop"], "one that changes": ["probe", "touch"]}


def run() -> Report:
    """Measure both."""
    report = Report("Protection", "python -m bench protected")
    with tempfile.TemporaryDirectory(prefix="mgr-bench-pki-") as folder:
        pki = Certificates.make(Path(folder) / "pki")
        audit = str(Path(folder) / "audit.log")
        settings = {**pki.settings(mutual=True), "audit_file": audit, "audit_required": "file"}
        with Setting(names=()) as protected, Setting(names=("a",)) as bare:
            _protect(protected, settings, pki)
            bare.cluster.active()
            bare.cluster.enable("probe")
            found = asyncio.run(
                _measure((protected.cluster.hosts, pki.tls_of(CLIENT)), (bare.cluster.hosts, None))
            )
    for what, (with_it, without) in found.items():
        report.add(f"{what}: mutual TLS, capabilities, audit in a file", with_it, target=TARGET)
        report.add(f"reference: {what}, without", without)
        ratio = report.series[-2].percentile(0.5) / report.series[-1].percentile(0.5)
        report.notes.append(f"{what}: p50 is {ratio:.2f} x that without")
    return report


def _protect(setting: Setting, settings: dict[str, str], pki: Certificates) -> None:
    """Start a manager that demands certificates, and give ``CLIENT`` what it needs."""
    cluster = setting.cluster
    first = [ADMIN, "--cluster", cluster.name, "--etcd", ",".join(cluster.etcd)]
    subprocess.run([MGRD, "recover-admin", *first], check=True, timeout=60)
    cluster.add("a", **settings).start()
    asyncio.run(_grant(cluster.hosts, pki.tls_of(ADMIN)))


async def _grant(hosts: list[str], tls: Tls) -> None:
    async with AsyncClient(hosts, tls=tls, timeout_s=30, reach_s=30) as client:
        for words in (["auth", "caps", CLIENT, "allow rw"], ["mgr", "module", "enable", "probe"]):
            answer = await client.execute(words)
            assert answer.retval == 0, answer


async def _measure(
    protected: tuple[list[str], Tls | None], bare: tuple[list[str], Tls | None]
) -> dict[str, tuple[list[float], list[float]]]:
    found: dict[str, tuple[list[float], list[float]]] = {}
    async with (
        AsyncClient(protected[0], tls=protected[1]) as one,
        AsyncClient(bare[0], tls=bare[1]) as other,
        one.session() as with_it,
        other.session() as without,
    ):
        for what, words in COMMANDS.items():
            samples: tuple[list[float], list[float]] = ([], [])
            for number in range(ROUNDS * MESSAGES):
                for session, into in zip((with_it, without), samples, strict=True):
                    begun = CLOCK.now()
                    answer = await session.execute(words)
                    if number >= MESSAGES // 10:
                        into.append((CLOCK.now() - begun) * 1e3)
                    assert answer.retval == 0, answer
            found[what] = samples
    return found

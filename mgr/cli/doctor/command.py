"""The command line of ``mgrctl doctor``."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import asdict
from typing import Final

import click

from mgr.cli import output
from mgr.cli.doctor.checks import CHECKS, findings_of
from mgr.cli.doctor.facts import Finding
from mgr.cli.local import Front

WARNED: Final = 1
FAILED: Final = 2


@click.command()
@click.pass_obj
def command(front: Front) -> int:
    """Look for what is wrong with the cluster, or soon will be.

    Asks every manager and the active. Prints one line a finding, with what to do. Exit status: 0,
    nothing but notes; 1, warnings; 2, errors; 255, no manager answered.
    """
    from mgr.cli.doctor.gather import gather  # noqa: PLC0415 - imports grpc

    facts = asyncio.run(gather(front.invocation_of(("doctor",))))
    findings = findings_of(facts)
    status = output.NOTHING_RAN if not facts.answered else status_of(findings)
    document = {
        "status": status,
        "checks": list(CHECKS),
        "managers": sorted(each.name for each in facts.latest.values()),
        "findings": [asdict(each) for each in findings],
    }
    count = Counter(each.severity for each in findings)
    summary = (
        f"{len(CHECKS)} checks of {len(facts.answered)} managers: {count['error']} errors, "
        f"{count['warning']} warnings, {count['note']} notes"
    )
    front.show(document, "\n".join([*(each.line() for each in findings), summary]))
    return status


def status_of(findings: list[Finding]) -> int:
    """Return the exit status for ``findings``."""
    severities = {each.severity for each in findings}
    if "error" in severities:
        return FAILED
    return WARNED if "warning" in severities else 0

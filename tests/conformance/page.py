"""Write docs/reference/conformance.md: ``python -m tests.conformance.page`` (needs the network)."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.conformance.packages import SUITES, fetched
from tests.conformance.survey import Row, taken
from tests.support.etcd import Etcd

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs/reference/conformance.md"
HEAD: Final = "| module | loads | serves | commands | asked | answer | what is missing |"
WIDTH: Final = 160
PLACES: Final = re.compile(rf"{re.escape(str(ROOT))}/(?:\.cache/\S+?/share/ceph/)?")
"""Where things are on this machine."""


def text(surveys: Mapping[str, Sequence[Row]]) -> str:
    """The page."""
    tables = "\n".join(_table(release, rows) for release, rows in surveys.items())
    return f"""\
# Conformance

Real modules, unmodified, out of Debian's package `ceph-mgr-modules-core`, each enabled on a
manager that has no Ceph behind it. Written by `make conformance-page`.

*loads*: imported, its declarations read. *serves*: constructed, and `serve` has not raised.
*asked*: those of its commands that only read and need no argument; *answer*: those that answered
without a traceback, a refusal included. What needs a Ceph cluster (pools, file systems, images)
says so by `MGR_MODULE_ERROR` and takes nothing else down. `rados`, `rbd` and `cephfs` can be
imported everywhere; where they are not installed, their first use says so.

{tables}"""


def _table(release: str, rows: Sequence[Row]) -> str:
    lines = "".join(_line(row) for row in rows)
    return f"## Ceph {release}, from Debian {SUITES[release]}\n\n{HEAD}\n|{'---|' * 7}\n{lines}"


def _line(row: Row) -> str:
    missing = PLACES.sub("", row.missing).replace("|", "\\|")
    short = " ".join(missing.split())[:WIDTH]
    cells = [
        f"`{row.name}`",
        "yes" if row.loads else "no",
        "yes" if row.serves else "no",
        str(row.commands),
        str(row.asked),
        str(row.answered),
        short or "-",
    ]
    return f"| {' | '.join(cells)} |\n"


def _surveys() -> dict[str, list[Row]]:
    with tempfile.TemporaryDirectory() as place, Etcd(Path(place) / "etcd") as etcd:
        surveys = {}
        for release in SUITES:
            directory = Path(place) / release
            directory.mkdir()
            surveys[release] = taken(fetched(release), directory, etcd.endpoints)
        return surveys


if __name__ == "__main__":
    PAGE.write_text(text(_surveys()))

"""Write docs/reference/conformance.md: ``python -m tests.conformance.page`` (needs the network).

With ``--ceph RELEASE``, only the column about a real Ceph cluster of that release is written again;
names of modules may follow, and then only theirs.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.conformance.packages import FROM_SOURCE, fetch_all
from tests.conformance.survey import Row, run_survey
from tests.support.ceph import RELEASE, SUITES, Ceph, fetch_programs
from tests.support.etcd import Etcd

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs/reference/conformance.md"
HEAD: Final = "| module | loads | serves | commands answer | options work | what is missing |"
CEPH_COLUMN: Final = "with a real cluster"
CEPH_CLUSTER: Final = "a monitor, a ceph-mgr, an OSD and two MDSs of that release"
CEPH_WIDTH: Final = 120
WIDTH: Final = 200
"""Characters of one cause that are shown."""
PLACES: Final = re.compile(rf"{re.escape(str(ROOT))}/(?:\.cache/\S+?/share/ceph/)?")
"""Paths of this machine, which are removed from messages."""


def text(surveys: Mapping[str, Sequence[Row]]) -> str:
    """Make the text of the page."""
    tables = "\n".join(_table(release, rows) for release, rows in surveys.items())
    named = [f"`{name}`" for names in FROM_SOURCE.values() for name in names]
    from_source = f"{', '.join(named[:-1])} and {named[-1]}"
    return f"""\
# Conformance

Real modules, unmodified, out of Debian's packages `ceph-mgr-modules-core`, `ceph-mgr-cephadm`,
`-dashboard`, `-k8sevents`, `-rook` and `cephadm`, all enabled on one manager that has no Ceph
behind it. Of the newest release {from_source} are there, too, out of the source package: no package
has them. Written by `make conformance-page`. What a module imports is installed by the extra
`conformance`.

*loads*: imported, its declarations read. *serves*: constructed, and `serve` has not raised.
*commands answer*: of all its commands, asked with a word or a number for each argument that is
needed, how many answered without a traceback; a refusal is an answer. *options work*: of those it
declares, how many took a value, showed it, and refused nonsense. *what is missing* has every cause
that was met, each with the number of commands or options that it stopped. Left out are
`telemetry send`, `feedback list` and `feedback report`, which leave this machine, `mgr self-test
background start`, which keeps every core busy, and `mgr self-test remote`, which wants modules that
are disabled: `tests/conformance` runs it.

`tests/conformance/test_at_work.py` has fourteen modules of 16.2 at work on three managers, of which
the active is killed, in threads and in [processes of their own](../how-to/isolate-modules.md): they
answer the same. Seen to differ: in a process, one whose `shutdown` takes longer than it is given
(`telemetry`, `prometheus`) is killed; in a thread its instance is abandoned. In the first moments
of a term a module may be there before another that it calls: as in ceph-mgr, that call fails.

What needs a Ceph cluster (pools, file systems, images) says so by `MGR_MODULE_ERROR` and takes
nothing else down. `rados`, `rbd` and `cephfs` can be imported everywhere; where they are not
installed, their first use says so. The dashboard of 20.2 has code that was generated for protobuf
3, which protobuf's compiled runtime refuses; it loads in a manager that is started with
`PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION=python` in its environment.

*with a real cluster*, where it stands: the same with {CEPH_CLUSTER},
and the module `ceph` of this product ([how](../how-to/use-with-ceph.md)): whether it serves, and
how many commands answered. The bindings are those of {RELEASE} in each case, for the Python that
the managers run on: they speak with daemons of later releases.

{tables}"""


def with_ceph(page: str, release: str, rows: Sequence[Row]) -> str:
    """Return the page with the column about a real cluster in the table of ``release``."""
    before, title, after = page.partition(f"## Ceph {release},")
    table, following, rest = after.partition("\n## ")
    cells = {f"| `{row.name}` |": _ceph_cell(row) for row in rows}
    lines = []
    for line in table.splitlines():
        own = line
        if line.startswith("| module |"):
            own = f"{HEAD} {CEPH_COLUMN} |"
        elif line.startswith("|---"):
            own = f"|{'---|' * 7}"
        elif line.startswith("| `"):
            # The other six cells stay as they are.
            parts = re.split(r"(?<!\\)\|", line)
            cell = cells.get(f"|{parts[1]}|", parts[7].strip() if len(parts) > 8 else "not tried")
            own = "|".join(parts[:7]) + f"| {cell} |"
        lines.append(own)
    return f"{before}{title}{chr(10).join(lines)}\n{following}{rest}"


def _ceph_cell(row: Row) -> str:
    causes = [" ".join(PLACES.sub("", cause).split())[:CEPH_WIDTH] for cause in row.causes]
    share = f", {row.answered} of {row.commands}" if row.commands else ""
    return "<br>".join([f"{'yes' if row.serves else 'no'}{share}", *causes]).replace("|", "\\|")


def _table(release: str, rows: Sequence[Row]) -> str:
    lines = "".join(_line(row) for row in rows)
    return f"## Ceph {release}, from Debian {SUITES[release]}\n\n{HEAD}\n|{'---|' * 6}\n{lines}"


def _line(row: Row) -> str:
    causes = [" ".join(PLACES.sub("", cause).split())[:WIDTH] for cause in row.causes]
    short = "<br>".join(causes).replace("|", "\\|")
    cells = [
        f"`{row.name}`",
        "yes" if row.loads else "no",
        "yes" if row.serves else "no",
        f"{row.answered} of {row.commands}" if row.commands else "-",
        f"{row.accepted} of {row.options}" if row.options else "-",
        short or "-",
    ]
    return f"| {' | '.join(cells)} |\n"


def _surveys() -> dict[str, list[Row]]:
    with tempfile.TemporaryDirectory() as place, Etcd(Path(place) / "etcd") as etcd:
        surveys = {}
        for release in SUITES:
            directory = Path(place) / release
            directory.mkdir()
            surveys[release] = run_survey(fetch_all(release), directory, etcd.endpoints)
        return surveys


def _survey_with_ceph(release: str, only: Sequence[str] = ()) -> list[Row]:
    with (
        tempfile.TemporaryDirectory() as place,
        Etcd(Path(place) / "etcd") as etcd,
        # A module makes a second file system, which needs an MDS of its own.
        Ceph(Path(place), fetch_programs(release), mdss=("a", "b")) as ceph,
    ):
        return run_survey(fetch_all(release), Path(place), etcd.endpoints, ceph, only)


def _write(releases: Sequence[str], only: Sequence[str] = ()) -> None:
    """Write the column about a real cluster again, for ``releases``."""
    for release in releases:
        rows = _survey_with_ceph(release, only)
        PAGE.write_text(with_ceph(PAGE.read_text(), release, rows))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--ceph"]:
        _write(sys.argv[2:3], sys.argv[3:])
    else:
        PAGE.write_text(text(_surveys()))
        _write(tuple(SUITES))

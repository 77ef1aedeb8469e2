"""Every module of Debian's package on one real manager: it works, or it says why not."""

from __future__ import annotations

from tests.conformance.survey import run_survey

NEED_CEPH = {"mirroring", "rbd_support", "volumes"}
"""They connect to pools and file systems at their start; there are none here."""
ASK_CEPH = {"nfs", "snap_schedule"}
"""They connect when a command needs it."""


def test_every_module_loads_or_says_why_and_none_takes_the_manager_down(pacific, etcd, tmp_path):
    """Enabled all together, each option set, each command asked; the worker is the same after."""
    rows = run_survey(pacific, tmp_path, etcd.endpoints)

    assert [row.name for row in rows] == pacific.names
    assert [row for row in rows if not row.loads] == []
    assert {row.name for row in rows if not row.serves} <= NEED_CEPH
    assert [row for row in rows if row.accepted < row.options] == []
    silent = {row.name for row in rows if row.answered < row.commands}
    assert silent <= NEED_CEPH | ASK_CEPH
    assert [row for row in rows if row.name in silent and not row.causes] == []

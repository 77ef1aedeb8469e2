"""Every module of Debian's package on one real manager: it works, or it says why not."""

from __future__ import annotations

from tests.conformance.survey import taken

NEED_CEPH = {"mirroring", "rbd_support", "volumes"}
"""They connect to pools and file systems at their start; there are none here."""
NEED_OPTIONS = {"balancer", "devicehealth", "pg_autoscaler"}
"""They read options of Ceph's monitors, which have no value here."""


def test_every_module_loads_or_says_why_and_none_takes_the_manager_down(pacific, etcd, tmp_path):
    """Enabled all together, in one worker that is the same one afterwards."""
    rows = taken(pacific, tmp_path, etcd.endpoints)

    assert [row.name for row in rows] == pacific.names
    assert [row for row in rows if not row.serves and not row.missing] == []
    assert [row for row in rows if not row.loads] == []
    assert {row.name for row in rows if not row.serves} <= NEED_CEPH | NEED_OPTIONS

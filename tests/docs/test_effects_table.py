"""The table of where Ceph's modules act, against the page that names those modules."""

import re

from mgr.host.effects import PACKAGED
from tests.support.tree import ROOT

ROW = re.compile(r"^\| `(\w+)` \| (?:yes|no) \|", re.MULTILINE)


def test_each_module_of_cephs_packages_is_in_the_table():
    """One that is new is judged, not forgotten."""
    page = (ROOT / "docs" / "reference" / "conformance.md").read_text()
    named = set(ROW.findall(page))
    assert len(named) > 20
    assert named <= PACKAGED.keys()

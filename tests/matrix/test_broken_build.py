"""A verdict that nothing can fail is none: a build without the guard compare does fail it.

``tests/sim/test_broken_builds.py`` does the same for every other protection, on virtual time.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.matrix.rows.processes import freeze_before_write
from tests.support import faults
from tests.support.faults.lab import NAMES, Lab
from tests.support.tree import ROOT

pytestmark = [pytest.mark.etcd, pytest.mark.e2e]

FREEZES_MAX = 10
UNGUARDED = Path(faults.__file__).parent / "unguarded"


@pytest.mark.timeout(180)
def test_the_verdict_finds_the_writes_of_a_build_without_the_guard_compare(etcd_program):
    """A worker frozen right before it sends, woken in its successor's term: the write lands.

    Not each of them: where the successor has touched the same key, the other compare sees to it.
    """
    path = {"PYTHONPATH": f"{UNGUARDED}:{ROOT}"}
    with Lab(external=False, environments=dict.fromkeys(NAMES, path)) as lab:
        for _ in range(FREEZES_MAX):
            if freeze_before_write(lab, None)["late writes"]:
                break
            lab.forget_deposition()
        found = lab.judged()

    assert any("landed in term" in each for each in found)

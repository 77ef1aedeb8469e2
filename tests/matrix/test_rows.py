"""The fast rows of the matrix, each once, on real processes over three etcds."""

from __future__ import annotations

import random

import pytest

from tests.matrix.row import Place, Row
from tests.matrix.table import ROWS, Result, once
from tests.support.faults.lab import Lab
from tests.support.tree import ROOT

pytestmark = [pytest.mark.etcd, pytest.mark.e2e]

FAST = [row for place in Place for row in ROWS if row.fast and row.place is place]
SEED = 1


@pytest.fixture(scope="module")
def lab(request, etcd_program):
    """The laboratory of a place, for all its rows; at its end everything must have held."""
    with Lab(**request.param.settings()) as running:
        yield running
        assert running.judged() == []


def title(value):
    return f"{value.number}: {value.fault}" if isinstance(value, Row) else value.name.lower()


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("lab", "row"),
    [(row.place, row) for row in FAST],
    indirect=["lab"],
    ids=title,
    scope="module",
)
def test_a_fault_is_survived(lab, row):
    """What the row says must hold, holds. How long it takes is for ``make matrix`` to say."""
    result = Result(row)

    once(result, lab, random.Random(SEED))

    assert result.wrong == []


def test_every_row_of_the_reference_is_there():
    """Injected, shown by another test, or with the reason why not."""
    assert {row.number for row in ROWS} == set(range(1, 66))
    assert [row.number for row in ROWS if not (row.run or row.elsewhere or row.not_here)] == []


def test_a_test_that_shows_a_row_exists():
    """A path that is not there shows nothing."""
    named = {row.elsewhere for row in ROWS if row.elsewhere}

    assert [path for path in named if not (ROOT / path).exists()] == []

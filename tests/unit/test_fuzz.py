"""A short run of the fuzzer, and that it finds a planted bug. ``make fuzz`` runs a million."""

from __future__ import annotations

import pytest

from mgr.errors import MgrError
from tests.fuzz.__main__ import fuzz
from tests.fuzz.parsers import TARGETS, Target

INPUTS = 300


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_no_input_is_answered_with_an_unexpected_error(target):
    """Only with the errors that its callers handle."""
    assert fuzz(target, INPUTS, seed=2026) == []


def test_a_planted_bug_is_found():
    """A parser that fails for some inputs only."""

    def parse(text):
        if "--" in text and text.count("=") > 2:
            raise KeyError(text)

    planted = Target("planted", parse, ["config set --a=b", "x=1,y=2"], (MgrError,))
    assert fuzz(planted, 20_000, seed=1)

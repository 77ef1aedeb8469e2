"""A short run of the fuzzer, and that it finds a planted bug. ``make fuzz`` runs a million."""

from __future__ import annotations

import pytest

from mgr.errors import MgrError
from tests.fuzz.__main__ import Fuzzer, fuzz, keep, kept
from tests.fuzz.parsers import TARGETS, Target

INPUTS = 300


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_no_input_is_answered_with_an_unexpected_error(target):
    """Only with the errors that its callers handle."""
    assert fuzz(target, INPUTS, seed=2026) == []


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_what_once_found_something_does_not_do_so_again(target):
    """The findings of the review, and what ``make fuzz`` has kept since."""
    fuzzer = Fuzzer(target, seed=0)
    for given in kept(target.name):
        fuzzer.check(given)

    assert fuzzer.found == []


def test_an_input_is_kept_as_it_was(tmp_path):
    """Bytes and texts, also such as no file can have."""
    file = tmp_path / "kept"
    for given in (b"\xff\x00", "\udc80\n"):
        keep("x", given, file)
    keep("y", "z", file)

    assert kept("x", file) == [b"\xff\x00", "\udc80\n"]


def test_a_planted_bug_is_found():
    """A parser that fails for some inputs only."""

    def parse(text):
        if "--" in text and text.count("=") > 2:
            raise KeyError(text)

    planted = Target("planted", parse, ["config set --a=b", "x=1,y=2"], (MgrError,))
    assert fuzz(planted, 20_000, seed=1)

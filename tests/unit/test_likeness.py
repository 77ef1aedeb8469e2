"""How alike two texts are."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mgr.likeness import CHARS_MAX, Typed, most_similar


def longest_common(one, other):
    """By the definition, for short texts."""
    for size in range(min(len(one), len(other)), 0, -1):
        parts = {"".join(each) for each in itertools.combinations(one, size)}
        if parts & {"".join(each) for each in itertools.combinations(other, size)}:
            return size
    return 0


@given(st.text("abc", max_size=8), st.text("abc", max_size=8))
def test_likeness_is_that_of_the_definition(one, other):
    """Twice the longest common subsequence, by the sum of the lengths."""
    total = len(one) + len(other)
    wanted = 2 * longest_common(one, other) / total if total else 1.0

    assert Typed(one).likeness(other) == pytest.approx(wanted)


def test_only_the_beginning_of_a_long_text_is_compared():
    """So that the time does not depend on what was typed."""
    assert Typed("a" * 10**6).likeness("a" * CHARS_MAX) == 1.0


def test_the_most_similar_one_is_found():
    """Or none."""
    assert most_similar("helo", ["hello", "help", "status"]) == "hello"
    assert most_similar("zzz", ["hello"]) is None
    assert most_similar("x", []) is None

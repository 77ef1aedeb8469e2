"""Typed arguments cross the wire as what they are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mgr.errors import InvalidArgumentError
from mgr.rpc.codec import INTEGER_MAX, arguments_in, value_of
from mgr.rpc.v1.command_pb2 import Value

SIMPLE = (
    st.text() | st.booleans() | st.integers(-INTEGER_MAX, INTEGER_MAX) | st.floats(allow_nan=False)
)


@given(SIMPLE | st.lists(SIMPLE, max_size=5))
def test_a_value_comes_back_as_it_was(value):
    """Also by its type: a command sees the difference between true and 1."""
    sent = Value.FromString(value_of("x", value).SerializeToString())

    back = arguments_in({"x": sent})["x"]

    assert back == value
    assert type(back) is type(value)


@pytest.mark.parametrize("value", [None, {"a": 1}, b"x", 1 << 63, "\ud800"])
def test_a_value_that_no_command_takes_is_refused_by_name(value):
    """Before anything is sent."""
    with pytest.raises(InvalidArgumentError, match=r"^grace: "):
        value_of("grace", value)


def test_a_value_of_no_kind_is_refused():
    """A message of a client that forgot to fill it."""
    with pytest.raises(InvalidArgumentError, match="grace: an argument without a value"):
        arguments_in({"grace": Value()})

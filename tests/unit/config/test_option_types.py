"""What text an option takes, how it is stored, what a module reads."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mgr.config.option_types import OPTION_TYPES
from mgr.config.schema import OptionSpec
from mgr.errors import InvalidArgumentError


def option(kind, **fields):
    return OptionSpec(name="o", type=kind, **fields)


@pytest.mark.parametrize(
    ("kind", "text", "stored", "read"),
    [
        ("str", "", "", ""),
        ("str", " any ü ", " any ü ", " any ü "),
        ("int", "-5", "-5", -5),
        ("int", "4K", "4000", 4000),
        ("int", "-2M", "-2000000", -2000000),
        ("int", "9E", "9000000000000000000", 9 * 10**18),
        ("uint", "18446744073709551615", "18446744073709551615", 2**64 - 1),
        ("size", "4K", "4096", 4096),
        ("size", "4KiB", "4096", 4096),
        ("size", "4KB", "4096", 4096),
        ("size", "7B", "7", 7),
        ("size", "1Ti", str(2**40), 2**40),
        ("float", "1.5", "1.500000", 1.5),
        ("float", "1e3", "1000.000000", 1000.0),
        ("bool", "TRUE", "true", True),
        ("bool", "False", "false", False),
        ("bool", "2", "true", True),
        ("bool", "0", "false", False),
        ("secs", "90", "90", 90.0),
        ("secs", "1h30m", "5400", 5400.0),
        ("secs", "1 day 2 hours", "93600", 93600.0),
        ("secs", "1mo", "2592000", 2592000.0),
        ("secs", "1y", "31536000", 31536000.0),
        ("millisecs", "250", "250", 250.0),
        ("addr", "10.0.0.1", "v2:10.0.0.1:0/0", "v2:10.0.0.1:0/0"),
        ("addr", "v1:10.0.0.1:6789/3", "v1:10.0.0.1:6789/3", "v1:10.0.0.1:6789/3"),
        ("addr", "[2001:DB8::1]:80", "v2:[2001:db8::1]:80/0", "v2:[2001:db8::1]:80/0"),
        ("addr", "::1", "v2:[::1]:0/0", "v2:[::1]:0/0"),
        (
            "addrvec",
            "[v2:10.0.0.1:1,v1:10.0.0.1:2]",
            "[v2:10.0.0.1:1/0,v1:10.0.0.1:2/0]",
            "[v2:10.0.0.1:1/0,v1:10.0.0.1:2/0]",
        ),
        (
            "uuid",
            "12345678123456781234567812345678",
            "12345678-1234-5678-1234-567812345678",
            "12345678-1234-5678-1234-567812345678",
        ),
    ],
)
def test_text_is_normalised_and_read_typed(kind, text, stored, read):
    """The table of the reference, row by row."""
    spec = option(kind)

    assert spec.normalise(text) == stored
    value = spec.parse(stored)
    assert (value, type(value)) == (read, type(read))


@pytest.mark.parametrize(
    ("kind", "text", "why"),
    [
        ("int", "x", "Expected option value to be integer, got 'x'"),
        ("int", "", "Expected option value to be integer, got ''"),
        ("int", "4Q", "strict_si_cast: unit prefix not recognized"),
        ("int", "4KB", "Expected option value to be integer, got '4KB'"),
        ("int", "99999999999999999999", "The option value '99999999999999999999' seems to be in"),
        ("uint", "-1", "strict_si_cast: value should not be negative, got '-1'"),
        ("size", "4X", "strict_iecstrtoll: unit prefix not recognized 'X' "),
        ("size", "-4K", "should not be negative"),
        ("float", "x", "strict_strtod: expected double, got: 'x'"),
        ("float", "1_0", "strict_strtod: expected double, got: '1_0'"),
        ("bool", "yes", "Expected option value to be integer, got 'yes'"),
        ("secs", "5 parsecs", "unrecogized unit 'parsecs'"),
        ("secs", "soon", "expected digit"),
        ("secs", "", "expected digit"),
        ("secs", "-5", "expected digit"),
        ("millisecs", "-1", "negative"),
        ("addr", "10.0.0.1:99999", "is not an address"),
        ("addr", "example.com", "is not an address"),
        ("addrvec", "10.0.0.1,", "'' is not an address"),
        ("uuid", "1234", "'1234' is not a UUID"),
    ],
)
def test_what_does_not_fit_is_refused_in_cephs_words(kind, text, why):
    """Every message begins alike and names the value."""
    with pytest.raises(InvalidArgumentError) as caught:
        option(kind).normalise(text)

    assert str(caught.value).startswith("error parsing value: ")
    assert why in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "text", "why"),
    [
        ({"min": 1}, "0", "Value '0' is below minimum 1"),
        ({"max": 9}, "10", "Value '10' exceeds maximum 9"),
        ({"min": 1, "max": 9}, "10", "Value '10' exceeds maximum 9"),
        ({"min": "nonsense", "max": 9}, "10", "exceeds maximum 9"),
    ],
)
def test_each_bound_counts_by_itself(fields, text, why):
    """A single bound that its author wrote is meant; one that cannot be read is passed over."""
    with pytest.raises(InvalidArgumentError, match=why):
        option("int", **fields).normalise(text)


def test_bounds_are_inclusive_and_in_the_options_own_units():
    """``min='1m'`` of a span, ``max='4K'`` of a size."""
    assert option("secs", min="1m").normalise("60") == "60"
    assert option("size", max="4K").normalise("4096") == "4096"
    with pytest.raises(InvalidArgumentError, match="below minimum 60"):
        option("secs", min="1m").normalise("59")


def test_a_number_that_is_none_is_within_no_bounds():
    """NaN compares as nothing, and must not slip through."""
    with pytest.raises(InvalidArgumentError):
        option("float", min=0).normalise("nan")


def test_only_text_has_permitted_values():
    """As in Ceph."""
    with pytest.raises(InvalidArgumentError, match="'c' is not one of the permitted values: a, b"):
        option("str", enum_allowed=("a", "b")).normalise("c")
    assert option("int", enum_allowed=("a",)).normalise("1") == "1"


def test_text_stored_by_force_is_read_if_it_can_be():
    """``4K`` was never normalised; ``yes`` is true for Python; ``x`` is a ValueError."""
    assert option("size").parse("4K") == 4096
    assert option("int").parse("0x10") == 16
    assert option("bool").parse("yes") is True
    with pytest.raises(ValueError, match="x"):
        option("int").parse("x")


@settings(deadline=None)
@given(st.sampled_from(sorted(OPTION_TYPES)), st.text(max_size=20))
def test_what_is_stored_once_is_stored_the_same_again(kind, text):
    """Normalising twice changes nothing, and no text whatever raises anything else."""
    spec = option(kind)
    try:
        stored = spec.normalise(text)
    except InvalidArgumentError:
        return
    assert spec.normalise(stored) == stored
    spec.parse(stored)

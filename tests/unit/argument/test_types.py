"""What each type of argument takes, and how it refuses."""

import enum
import socket

import pytest

from mgr.argument.cluster_types import (
    BY_NAME,
    CephEntityAddr,
    CephFragment,
    CephIPAddr,
    CephName,
    CephOsdName,
    CephPgid,
)
from mgr.argument.types import (
    ArgumentError,
    ArgumentFormat,
    ArgumentPrefix,
    ArgumentValid,
    CephBool,
    CephChoices,
    CephFilepath,
    CephFloat,
    CephInt,
    CephObjectname,
    CephPoolname,
    CephPrefix,
    CephSocketpath,
    CephString,
    CephUUID,
)
from mgr.errors import InvalidArgumentError

UUID = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (CephInt(), "42", 42),
        (CephInt(), "-0x1F", -31),
        (CephInt(), "0o17", 15),
        (CephInt(), "0b11", 3),
        (CephInt(), "1_000", 1000),
        (CephInt("0"), "0", 0),
        (CephInt("0|10"), "10", 10),
        (CephFloat(), "1e3", 1000.0),
        (CephFloat(), "inf", float("inf")),
        (CephFloat("0|1"), "0.5", 0.5),
        (CephString(), "two words\n", "two words\n"),
        (CephString("[a-z]"), "abc", "abc"),
        (CephChoices("a|b"), "b", "b"),
        (CephBool(), "TRUE", True),
        (CephBool(), "1", True),
        (CephBool(), "False", False),
        (CephBool(), "0", False),
        (CephPoolname(), "übrig", "übrig"),
        (CephObjectname(), "漢字", "漢字"),
        (CephUUID(), UUID, UUID),
        (CephIPAddr(), "1.2.3.4", "1.2.3.4"),
        (CephIPAddr(), "v2:1.2.3.4:65535", "v2:1.2.3.4:65535"),
        (CephIPAddr(), "any:[::1]:80", "any:[::1]:80"),
        (CephIPAddr(), "fe80::1", "fe80::1"),
        (CephIPAddr(), "[::1]", "[::1]"),
        (CephEntityAddr(), "v1:1.2.3.4:80/17", "v1:1.2.3.4:80/17"),
        (CephEntityAddr(), "1.2.3.4", "1.2.3.4"),
        (CephPgid(), "3.1f", "3.1f"),
        (CephName(), "*", "*"),
        (CephName(), "mgr", "mgr"),
        (CephName(), "osd.*", "osd.*"),
        (CephName(), "client.admin", "client.admin"),
        (CephOsdName(), "osd.7", 7),
        (CephOsdName(), "7", 7),
        (CephOsdName(), "*", "*"),
        (CephPrefix("pool"), "pool", "pool"),
    ],
)
def test_a_value_that_fits_is_taken(kind, text, value):
    """Text becomes the value that the command is called with."""
    taken = kind.parse(text)

    assert taken == value
    assert type(taken) is type(value)


@pytest.mark.parametrize(
    ("kind", "text", "error", "words"),
    [
        (CephInt(), "010", ArgumentValid, "010 doesn't represent an int"),
        (CephInt(), "1.5", ArgumentValid, "1.5 doesn't represent an int"),
        (CephInt("0|10"), "11", ArgumentValid, "11 not in range [0, 10]"),
        (CephInt("5"), "4", ArgumentValid, "4 not in range [5]"),
        (CephFloat(), "x", ArgumentValid, "x doesn't represent a float"),
        (CephFloat("0|1"), "2", ArgumentValid, "2.0 not in range [0.0, 1.0]"),
        (CephString(), "é", ArgumentFormat, "invalid chars é in é"),
        (CephString("[a-z]"), "aB1", ArgumentFormat, "invalid chars 1B in aB1"),
        (CephChoices("a|b"), "c", ArgumentValid, "c not in a|b"),
        (CephBool(), "yes", ArgumentValid, "yes not one of 'true', 'false'"),
        (CephUUID(), "x", ArgumentFormat, "invalid UUID x"),
        (CephIPAddr(), "1.2.3", ArgumentValid, "1.2.3: invalid IPv4 address"),
        (CephIPAddr(), "1.2.3.4:65536", ArgumentValid, "65536: invalid IPv4 port"),
        (CephIPAddr(), "1.2.3.4:x", ArgumentValid, "x: invalid IPv4 port"),
        (CephIPAddr(), "[::1", ArgumentFormat, "[::1 missing terminating ]"),
        (CephIPAddr(), "[::1]:x", ArgumentValid, "[::1]:x: bad port number"),
        (CephIPAddr(), "host", ArgumentValid, "host not valid IPv6 address"),
        (CephEntityAddr(), "1.2.3.4/-1", ArgumentValid, "nonce -1 not integer > 0"),
        (CephPgid(), "3", ArgumentFormat, "pgid has no ."),
        (CephPgid(), "x.1", ArgumentFormat, "pool x not integer"),
        (CephPgid(), "-1.1", ArgumentFormat, "pool -1 < 0"),
        (CephPgid(), "1.xyz", ArgumentFormat, "pgnum xyz not hex integer"),
        (CephName(), "osd", ArgumentFormat, "CephName: no . in osd"),
        (CephName(), "rgw.a", ArgumentValid, "unknown type rgw"),
        (CephName(), "osd.x", ArgumentFormat, "osd id x not integer"),
        (CephOsdName(), "mon.1", ArgumentValid, "unknown type mon"),
        (CephOsdName(), "x", ArgumentFormat, "osd id x not integer"),
        (CephOsdName(), "-1", ArgumentFormat, "osd id -1 is less than 0"),
        (CephFragment(), "x", ArgumentFormat, "x: no /"),
        (CephFragment(), "1/2", ArgumentFormat, "1 not a hex integer"),
        (CephFragment(), "0x1/2", ArgumentFormat, "can't convert 0x1 to integer"),
        (CephPrefix("pool"), "poo", ArgumentPrefix, "no match for poo"),
    ],
)
def test_a_value_that_does_not_fit_is_named(kind, text, error, words):
    """The class of the error and its words are those of Ceph's client."""
    with pytest.raises(error) as raised:
        kind.parse(text)

    assert words in str(raised.value)
    assert isinstance(raised.value, InvalidArgumentError)


def test_only_the_first_digit_of_a_bracketed_port_is_looked_at():
    """Ceph's oddity, kept: what its client lets through must not fail here."""
    assert CephIPAddr().parse("[::1]:99999") == "[::1]:99999"


def test_a_pattern_that_matches_nothing_printable_checks_nothing():
    """Ceph's oddity, kept."""
    assert CephString("[é]").parse("anything") == "anything"


def test_a_broken_pattern_is_the_authors_mistake():
    """It shows when the command is declared, not when it is used."""
    with pytest.raises(ValueError, match="is not a valid RE"):
        CephString("[")


def test_choices_can_be_the_values_of_an_enum():
    """The values are what people type; the names are the program's."""

    class Colour(enum.Enum):
        RED = "red"
        ONE = 1

    assert CephChoices(tp=Colour).strings == ("red", "1")


@pytest.mark.parametrize(
    ("kind", "cut_short"), [(CephChoices("alpha|beta"), "al"), (CephPrefix("pool"), "po")]
)
def test_a_beginning_is_enough_for_completion_only(kind, cut_short):
    """Nothing is executed on an abbreviation."""
    assert kind.parse(cut_short, partial=True) == cut_short
    with pytest.raises(ArgumentError):
        kind.parse(cut_short)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (CephInt("0|10"), 3),
        (CephInt(), "0x10"),
        (CephFloat(), 2),
        (CephBool(), True),
        (CephString(), "text"),
        (CephOsdName(), 3),
        (CephFilepath(), "/no/such/file/here"),
        (CephSocketpath(), "/no/such/socket"),
    ],
)
def test_a_typed_value_is_taken(kind, value):
    """A program may send numbers and booleans; its paths are on another machine."""
    kind.accept(value)


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        (CephInt(), 1.5, "1.5 doesn't represent an int"),
        (CephInt(), True, "True doesn't represent an int"),
        (CephInt("0|10"), 11, "11 not in range [0, 10]"),
        (CephFloat(), [1], "[1] doesn't represent a float"),
        (CephString(), 3, "3 is not text"),
        (CephString(), "é", "invalid chars é"),
        (CephBool(), 2, "2 not one of 'true', 'false'"),
        (CephOsdName(), True, "True is not text"),
        (CephFilepath(), 3, "3 is not text"),
    ],
)
def test_a_typed_value_that_does_not_fit_is_named(kind, value, words):
    """The same words, whether it was typed by hand or sent by a program."""
    with pytest.raises(ArgumentError) as raised:
        kind.accept(value)

    assert words in str(raised.value)


def test_a_path_becomes_absolute_and_nothing_is_left_behind(tmp_path, monkeypatch):
    """One that can be read, or that could be made."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").write_text("x")

    assert CephFilepath().parse("there") == str(tmp_path / "there")
    assert CephFilepath().parse("new") == str(tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
    for bad in (".", "no/such/folder"):
        with pytest.raises(ArgumentValid, match="can't open"):
            CephFilepath().parse(bad)


def test_a_socket_must_be_one(tmp_path):
    """What is not there raises what the system says."""
    path = str(tmp_path / "s")
    with pytest.raises(FileNotFoundError):
        CephSocketpath().parse(path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        assert CephSocketpath().parse(path) == path
    with pytest.raises(ArgumentValid, match="is not a socket"):
        CephSocketpath().parse(str(tmp_path))


@pytest.mark.parametrize(
    ("kind", "hint"),
    [
        (CephInt(), "int"),
        (CephInt("0|5"), "int[0-5]"),
        (CephFloat("0"), "float[0.0-]"),
        (CephString(), ""),
        (CephString("[a-z]"), "(goodchars [a-z])"),
        (CephChoices("a|b"), "a|b"),
        (CephPrefix("pool"), "pool"),
    ],
)
def test_a_usage_line_shows_what_fits(kind, hint):
    """Any text needs no hint."""
    assert kind.hint == hint


def test_every_type_is_found_by_its_name():
    """Descriptors name them."""
    assert {name: kind.__name__ for name, kind in BY_NAME.items()} == {n: n for n in BY_NAME}
    assert len(BY_NAME) == 17

"""The descriptor language: text to signature and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mgr.argument.cluster_types import BY_NAME
from mgr.argument.descriptor import Flag, JsonFormat, Signature
from mgr.argument.types import CephChoices, CephInt

FULL = (
    "osd pool set name=pool,type=CephPoolname name=var,type=CephChoices,strings=size|min_size "
    "name=val,type=CephInt,range=0|10,req=false name=more,type=CephString,n=N,req=false "
    "name=yes,type=CephBool,req=false,positional=false"
)


def test_words_come_first_and_arguments_follow():
    """A word with neither comma nor equals sign belongs to the prefix."""
    signature = Signature.parse(FULL)

    assert signature.prefix == "osd pool set"
    assert signature.words == ("osd", "pool", "set")
    assert [each.name for each in signature.arguments] == ["pool", "var", "val", "more", "yes"]
    assert [each.required for each in signature.arguments] == [True, True, False, False, False]
    assert [each.count for each in signature.arguments] == [1, 1, 1, 0, 1]
    assert [each.positional for each in signature.arguments] == [True, True, True, True, False]


def test_types_are_given_their_own_keys():
    """Range and strings reach the type's constructor."""
    _, var, val, *_ = Signature.parse(FULL).arguments

    assert isinstance(var.type, CephChoices)
    assert var.type.strings == ("size", "min_size")
    assert isinstance(val.type, CephInt)
    assert val.type.range == [0, 10]


@pytest.mark.parametrize("text", [FULL, "status", "x name=a,type=CephInt,n=2"])
def test_a_signature_becomes_the_same_text_again(text):
    """What goes over the wire is what the author wrote."""
    assert Signature.parse(text).to_text() == text


def test_a_trailing_blank_means_nothing():
    """Decorated commands without arguments have one."""
    assert Signature.parse("status ") == Signature.parse("status")


def test_all_behind_a_lone_dash_pair_are_keywords():
    """And they still are when the text has gone over the wire."""
    text = "x name=a,type=CephInt -- name=b,type=CephInt,req=false"

    signature = Signature.parse(text)

    assert [each.positional for each in signature.arguments] == [True, False]
    again = Signature.parse(signature.to_text())
    assert [each.positional for each in again.arguments] == [True, False]


def test_clients_are_reported_booleans_and_texts():
    """The form of Ceph's get_command_descriptions: req and positional are booleans."""
    received = Signature.parse(FULL).to_json()

    assert received[:3] == ["osd", "pool", "set"]
    assert received[5] == {"name": "val", "type": "CephInt", "range": "0|10", "req": False}
    assert received[6]["n"] == "N"
    assert received[7]["positional"] is False


def test_the_usage_line_says_it_to_people():
    """Optional in brackets, repeated with dots, keywords with dashes."""
    assert Signature.parse(FULL).usage() == (
        "osd pool set <pool:poolname> <var:size|min_size> [<val:int[0-10]>] [<more>...] [--yes]"
    )
    keyword = "x name=out_file,type=CephString,req=false,positional=false"
    assert Signature.parse(keyword).usage() == "x [--out-file <out_file>]"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no words of its own"),
        ("name=a,type=CephInt", "no words of its own"),
        ("x name=a", "has no type"),
        ("x type=CephInt,req=false", "has no name"),
        ("x name=a,type=CephNone", "unknown type CephNone"),
        ("x name=a,type=CephInt,colour=red", "colour"),
        ("x name=a,type=CephInt,range=low", "invalid literal"),
        ("x name=a,type=CephInt,n=0", "n=0 is not a number of values"),
        ("x name=a,type=CephInt,positional=false", "positional=false needs req=false"),
        ("x name=a,type=CephInt y", "the word 'y' stands behind an argument"),
        ("x name=a,type=CephInt name=a,type=CephInt", "two arguments of one name"),
        ("x name=a,type=CephString,goodchars=[", "is not a valid RE"),
    ],
)
def test_a_descriptor_that_cannot_be_read_says_why(text, words):
    """A mistake of the command's author, found when the module is loaded."""
    with pytest.raises(JsonFormat, match=words.replace("(", r"\(")):
        Signature.parse(text)


def test_flags_are_ceph_numbers():
    """Clients written for Ceph compare them."""
    assert Flag.MGR | Flag.POLL == 24
    assert int(Flag.HIDDEN) == 32


names = st.from_regex(r"[a-z][a-z_]{0,8}", fullmatch=True)
descriptors = st.lists(
    st.tuples(names, st.sampled_from(sorted(set(BY_NAME) - {"CephPrefix"})), st.booleans()),
    max_size=5,
    unique_by=lambda argument: argument[0],
)


@given(prefix=st.lists(names, min_size=1, max_size=4), arguments=descriptors)
def test_any_descriptor_survives_the_wire(prefix, arguments):
    """Text, signature, text."""
    words = [
        f"name={name},type={kind}{',req=false' if optional else ''}"
        for name, kind, optional in arguments
    ]
    text = " ".join([*prefix, *words])

    assert Signature.parse(text).to_text() == text

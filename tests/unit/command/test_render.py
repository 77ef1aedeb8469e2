"""One answer in every format."""

from __future__ import annotations

import json
from xml.etree import ElementTree as ET

import pytest
import yaml

from mgr.command.render import FORMATS, checked_format, render, table
from mgr.errors import InvalidArgumentError

DATA = {"a": 1, "mgr/hello/<x>": [True, None, "ü&<"], "deep": {"empty": {}, "b": 0.5}}


def test_json_and_yaml_say_the_same():
    """What is read back is what was given."""
    for form in ("json", "json-pretty"):
        assert json.loads(render(DATA, form)) == DATA
    assert yaml.safe_load(render(DATA, "yaml")) == DATA
    assert "\n" not in render(DATA, "json").rstrip("\n")


def test_xml_is_well_formed_whatever_the_keys_are():
    """A key that is no XML name becomes an attribute."""
    for form in ("xml", "xml-pretty"):
        root = ET.fromstring(render(DATA, form))
        assert root.find("a").text == "1"
        entry = root.find("entry")
        assert entry.get("name") == "mgr/hello/<x>"
        assert [each.text for each in entry] == ["true", None, "ü&<"]
    assert ET.fromstring(render("a\0b", "xml")).text == "a\N{REPLACEMENT CHARACTER}b"


@pytest.mark.parametrize("form", FORMATS)
def test_text_that_is_no_utf8_does_not_cost_the_answer(form):
    """Somebody else wrote it into the store; an operator who looks must be able to see it."""
    said = render({"odd\udcfe": ["\udcff"], "even": "fine"}, form)

    assert "fine" in said
    assert said.encode()


def test_plain_text_is_for_people():
    """Where there is none, pretty JSON; nothing at all stays nothing in every format."""
    assert render(DATA, "plain", plain="hello") == "hello\n"
    assert render(DATA, "plain") == render(DATA, "json-pretty")
    assert [render(None, form) for form in FORMATS] == [""] * len(FORMATS)


def test_a_scalar_is_a_document_too():
    """``config get`` of one option."""
    assert render("Rome", "json") == '"Rome"\n'
    assert render("Rome", "yaml") == "Rome\n"
    assert render("Rome", "xml") == "<result>Rome</result>\n"


def test_an_unknown_format_names_the_valid_ones():
    """And None is plain."""
    assert checked_format(None) == "plain"
    with pytest.raises(InvalidArgumentError, match="'toml': use one of plain, json, json-pretty"):
        checked_format("toml")


def test_columns_line_up():
    """Without blanks at line ends, for diffs and eyes."""
    assert table(("A", "B"), [("long", 1), ("x", "")]) == "A     B\nlong  1\nx"
    assert table(("A", "B"), []) == "A  B"

"""``mgrctl config edit`` and ``support-bundle``: texts, differences, masks."""

from __future__ import annotations

import json
import re
import tarfile
import tempfile
from pathlib import Path

import pytest

from mgr.cli import support_bundle
from mgr.cli.config_edit import HEAD, Change, difference, edit, from_text, to_text
from mgr.cli.support_bundle import Bundle, masked
from mgr.errors import InvalidArgumentError
from mgr.secret_names import MASK

OPTIONS = {
    "mgr": {"mgr/hello/place": "no", "x": "010", "y": "a: b\nc", "z": ""},
    "mgr.a": {"x": "\u00e4"},
}


def test_options_survive_the_editor():
    """Every value is a text, whatever YAML would take it for."""
    assert from_text(HEAD + to_text(OPTIONS)) == OPTIONS
    assert from_text("mgr:\n  x: yes\n  y: 010\n  z: null\n")["mgr"] == {
        "x": "yes", "y": "010", "z": "null",
    }  # fmt: skip
    assert from_text("") == {}


def test_what_was_changed_is_set_and_what_was_removed_is_removed():
    """Nothing else; a secret that nobody touched stays."""
    before = {"mgr": {"a": "1", "b": "2", "secret": MASK}, "global": {"c": "3"}}
    after = {"mgr": {"a": "1", "b": "4", "secret": MASK, "d": "5"}}

    change = difference(before, after)

    assert change == Change([("mgr", "b", "4"), ("mgr", "d", "5")], [("global", "c")])
    assert difference(before, before) == Change()


@pytest.mark.parametrize(
    "text",
    [
        "- a",
        "mgr: 1",
        "mgr:\n  x: [1]",
        "mgr: {x: {y: 1}}",
        "a: b: c",
        "!!python/none x",
        "[" * 9000,
    ],
)
def test_a_text_that_is_none_is_refused(text):
    """In one line, which names the place."""
    with pytest.raises(InvalidArgumentError) as raised:
        difference({}, from_text(text))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("text", ["mgr: {x: 1}\nmgr: {y: 2}\n", "mgr:\n  x: 1\n  x: 2\n"])
def test_a_name_that_is_there_twice_is_refused(text):
    """Otherwise what stands under the first would be removed from the cluster."""
    with pytest.raises(InvalidArgumentError, match=r"is there twice, again in line [23]"):
        from_text(text)


def test_an_empty_text_removes_nothing():
    """A full disk leaves one. The name of a section is enough."""
    with pytest.raises(InvalidArgumentError, match="nothing is changed"):
        difference(OPTIONS, from_text(HEAD))

    assert difference({"mgr": {"x": "1"}}, from_text("mgr:\n")) == Change(rm=[("mgr", "x")])
    assert difference({"mgr": {}}, from_text("")) == Change()


@pytest.mark.parametrize(
    ("editor", "message"),
    [
        ("rm", "cannot read .*options.yaml: No such file or directory$"),
        ("printf '\\377' >", "the text is not in UTF-8; it is in (.*)$"),
        ("/nonexistent", "cannot run the editor /nonexistent: No such file or directory$"),
    ],
)
def test_what_an_editor_may_leave(editor, message, tmp_path, monkeypatch):
    """One line, and the text is not lost."""
    program = tmp_path / "editor"
    program.write_text(f'#!/bin/sh\n{editor} "$1"\n')
    program.chmod(0o755)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("VISUAL", editor if editor.startswith("/") else str(program))

    with pytest.raises(InvalidArgumentError, match=message) as raised:
        edit("mgr:\n  x: 1\n")

    if kept := re.search(message, str(raised.value)).groups():
        assert Path(kept[0].split(" ")[0]).read_bytes() == b"\xff"


def test_the_mask_of_a_secret_is_no_value():
    """It would be stored, and the secret gone."""
    with pytest.raises(InvalidArgumentError, match="write its value"):
        difference({}, {"mgr": {"p": MASK}})


def test_only_the_section_that_is_edited_may_change():
    """Whoever edits one sees only that one."""
    with pytest.raises(InvalidArgumentError, match="only section mgr"):
        from_text("global:\n  x: 1\n", only="mgr")


JOIN_TOKEN = f"{'5c' * 8}.{'Ab-_' * 10}xyz.{'e0' * 32}"


@pytest.mark.parametrize(
    ("document", "shown"),
    [
        ({"api_token": "x", "count": 1}, {"api_token": MASK, "count": 1}),
        ({"name": "mgr/x/password", "value": "x"}, {"name": "mgr/x/password", "value": MASK}),
        ({"secret": {"deep": ["x", 7]}}, {"secret": {"deep": [MASK, MASK]}}),
        (["login with password=hunter2 now"], [f"login with password={MASK} now"]),
        ("--api-key hunter2", f"--api-key {MASK}"),
        ("http://ops:hunter2@host/", f"http://ops:{MASK}@host/"),
        ("-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----", MASK),
        ('sent {"password": "my hunter2", "at": 1}', f'sent {{"password": {MASK}, "at": 1}}'),
        (r'sent "{\"password\": \"hunter2\"}"', rf'sent "{{\"password\": {MASK}}}"'),
        ("password='my hunter2' now", f"password={MASK} now"),
        ("runs ['x', '--token', 'hunter2']", f"runs ['x', '--token', {MASK}]"),
        ("Authorization: Bearer hunter2.hunter2", f"Authorization: Bearer {MASK}"),
        ("{'authorization': 'Basic b3BzOmh1bnRlcg=='}", f"{{'authorization': 'Basic {MASK}'}}"),
        ("http://ops:h@nter2@host/", f"http://ops:{MASK}@host/"),
        (f"join {JOIN_TOKEN}, please", f"join {MASK}, please"),
        (JOIN_TOKEN.rpartition(".")[0], MASK),
        ("needs a certificate or bearer token (docs/how-to/tls.md)", None),
        ({"name": "place", "value": "Rome", "token": ""}, None),
        ("a token with which one manager joins", None),
    ],
)
def test_what_looks_like_a_secret_is_masked(document, shown):
    """By the name of a field, of an option, or in free text; nothing else is."""
    assert masked(document) == (document if shown is None else shown)


@pytest.mark.parametrize("unit", ["a.", "token", "password='", "://a:", "bearer ", "\\", "--"])
def test_the_worst_text_is_masked_in_linear_time(unit):
    """Logs are megabytes of what others wrote: this takes hours if it is quadratic."""
    masked(unit * ((1 << 20) // len(unit)))


def test_a_bundle_is_bounded_and_private(tmp_path, monkeypatch):
    """What did not fit, and what is missing, is in the index."""
    monkeypatch.setattr(support_bundle, "FILE_BYTES_MAX", 100)
    monkeypatch.setattr(support_bundle, "TOTAL_BYTES_MAX", 150)
    bundle = Bundle()
    bundle.add("a", "x" * 500)
    bundle.add("b", "y" * 500)
    bundle.fail("c", "not allowed")
    path = tmp_path / "b.tar.gz"

    bundle.write(path)

    assert path.stat().st_mode & 0o077 == 0
    with tarfile.open(path) as archive:
        sizes = {each.name: each.size for each in archive}
        index = json.load(archive.extractfile("b/index.json"))
    assert (sizes["b/a.json"], sizes["b/b.json"]) == (100, 50)
    assert index["files"][0] == {"file": "a.json", "bytes": 502, "kept": 100}
    assert index["files"][2] == {"file": "c", "missing": "not allowed"}

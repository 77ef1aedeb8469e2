"""``-o jsonpath=...`` and templates: what they make of an answer."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from mgr.cli import query
from mgr.errors import InvalidArgumentError, NotFoundError
from tests.support.tree import ROOT

ANSWER = json.dumps(
    {
        "cluster": "prod",
        "managers": [
            {"name": "a", "phase": "active", "view_age_s": 0.5},
            {"name": "b", "phase": "standby", "view_age_s": None},
        ],
    }
).encode()


@pytest.mark.parametrize(
    ("path", "result"),
    [
        ("$.cluster", "prod\n"),
        ("cluster", "prod\n"),
        (".managers[*].name", "a\nb\n"),
        ("{.managers[*].name}", "a\nb\n"),
        ("$.managers[?@.phase=='active'].name", "a\n"),
        ("$.managers[*].view_age_s", "0.5\nnull\n"),
        ("$.managers[0]", '{"name": "a", "phase": "active", "view_age_s": 0.5}\n'),
    ],
)
def test_a_path_gives_each_match_in_a_line(path, result):
    """Texts as they are, everything else as JSON; also as kubectl writes it."""
    assert query.apply(f"jsonpath={path}", ANSWER).decode() == result


def test_a_path_that_matches_nothing_is_an_error():
    """A script does not go on with an empty text."""
    with pytest.raises(NotFoundError, match="matches nothing"):
        query.apply("jsonpath=$.nodes", ANSWER)


def test_a_template_sees_the_answer_and_its_fields(tmp_path):
    """On the command line, or in a file."""
    text = (
        "{{ cluster }}: {% for each in managers %}{{ each.name }} {% endfor %}{{ answer | length }}"
    )
    file = tmp_path / "t"
    file.write_text(text)

    assert query.apply(f"template={text}", ANSWER) == b"prod: a b 2\n"
    assert query.apply(f"template-file={file}", ANSWER) == b"prod: a b 2\n"


@pytest.mark.parametrize(
    ("asked", "data", "text"),
    [
        ("jsonpath=$[", ANSWER, "jsonpath"),
        ("template={{ nothing }}", ANSWER, "'nothing' is undefined"),
        ("template={% for %}", ANSWER, "template"),
        ("template={{ ''.__class__.__mro__ }}", ANSWER, "template"),
        ("template={{ 1 / 0 }}", ANSWER, "division"),
        ("template-file=/no/such", ANSWER, "/no/such"),
        ("template={{ answer.managers[0].name | round }}", ANSWER, "template"),
        ("template={% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", ANSWER, "too deep"),
        ("template={{ 'x' * 10**13 }}", ANSWER, "makes too much"),
        ("jsonpath=$" + "[0]" * 3000, ANSWER, "too deep"),
        ("jsonpath=$", b"no JSON", "no JSON"),
    ],
)
def test_what_is_wrong_is_named(asked, data, text):
    """In one line."""
    with pytest.raises(InvalidArgumentError, match=text.replace("[", r"\[")) as raised:
        query.apply(asked, data)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("value", [None, "", "-", "answer.json", "./jsonpath=x"])
def test_a_file_is_no_query(value):
    """``-o`` stays what it is for Ceph's client."""
    assert not query.is_query(value)


def test_no_library_is_imported_without_a_query():
    """They would take a third of the start."""
    code = (
        "import sys; import mgr.cli.command_line, mgr.cli.run, mgr.cli.query; "
        "sys.exit(bool({'jsonpath', 'jinja2', 'tomlkit', 'tomllib', 'yaml'} & sys.modules.keys()))"
    )

    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, timeout=30)

    assert done.returncode == 0

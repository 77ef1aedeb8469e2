"""One word for one thing: the words of ``docs/glossary.md``, and none of those that they replaced.

Decision records and the changelog are history and keep the words of their time.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.support.tree import COMMITTED, PYTHON, ROOT, name_of

RETIRED = {
    r"offices?": "leadership, or term",
    r"puls(?:e|es|ing)": "leader heartbeat",
    r"fence records?|death certificates?": "term record",
    r"deeds?": "action",
    r"errands?": "call, or background command",
    r"vigils?": "leader monitor",
    r"crews?": "worker supervisor",
    r"tethers?": "link to the guard",
    r"chronicles?": "term log",
    r"said_no": "refused, or returned_error",
    r"unfit|fitness": "not eligible, eligibility",
    r"manners": "good practice",
    r"anew": "again",
}
"""Words of the first versions, as patterns of whole words, and what replaced them."""
RETIRED_IN_PROSE = {
    r"retire[sd]?": "shut down, or exit",
    r"news": "notification, event or change",
}
"""The same for pages: in code these words can be parts of an interface."""

IN_NAMES = re.compile(
    r"(?:^|_)(?:office|pulse|deeds?|errand|vigil|crew|tether|chronicle|said_no|fitness|told)(?:_|$)"
)
HISTORY = ("docs/adr/", "CHANGELOG.md")
"""ADRs are listed by title in a page of their own, which is not history."""
OWN = name_of(Path(__file__))
WORDS = re.compile(rf"(?<![\w/.-])(?:{'|'.join(RETIRED)})(?![\w/-])", re.IGNORECASE)
PROSE = re.compile(rf"(?<![\w/.-])(?:{'|'.join(RETIRED_IN_PROSE)})(?![\w/-])", re.IGNORECASE)
QUOTED = re.compile(r"```.*?```|`[^`\n]*`|\([^)]*\)", re.DOTALL)
GENERATED = ("docs/reference/",)
"""Pages whose sentences stand in the code."""
READ = {".py", ".md", ".toml", ".yaml", ".yml", ".proto", ".service", ".sh", ""}


def _texts() -> list[Path]:
    """Every file that people read, but history and this list."""
    return [
        path
        for path in COMMITTED
        if path.suffix in READ
        and not name_of(path).startswith(HISTORY)
        and name_of(path) not in {OWN, "LICENSE"}
    ]


def _retired_in(text: str) -> list[tuple[int, str]]:
    return [
        (number, match[0])
        for number, line in enumerate(text.splitlines(), 1)
        for match in WORDS.finditer(line)
    ]


def test_no_file_uses_a_retired_word():
    """The message names the place; the table above names the word to use."""
    found = [
        f"{name_of(path)}:{number}: {word}"
        for path in _texts()
        for number, word in _retired_in(path.read_text())
    ]

    assert found == []


def test_no_page_uses_a_word_that_is_retired_in_prose():
    """Code in backquotes and the targets of links are left out."""
    pages = [p for p in _texts() if p.suffix == ".md" and not name_of(p).startswith(GENERATED)]
    found = {name_of(page): PROSE.findall(QUOTED.sub("", page.read_text())) for page in pages}

    assert {name: words for name, words in found.items() if words} == {}


def test_no_name_is_a_retired_word():
    """Functions, classes, parameters and variables of the product and its tests."""
    found = set()
    for path in PYTHON:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [getattr(node, field, None) for field in ("name", "id", "attr", "arg")]
            found |= {
                f"{name_of(path)}:{getattr(node, 'lineno', 0)}: {name}"
                for name in names
                if isinstance(name, str) and IN_NAMES.search(name.lower())
            }

    assert sorted(found) == []


def test_no_file_is_named_by_a_retired_word():
    """A newcomer looks for a file by its subject."""
    found = [
        name_of(path)
        for path in COMMITTED
        if IN_NAMES.search(path.stem.lower().replace("-", "_"))
        and not name_of(path).startswith(HISTORY)
    ]

    assert found == []


@pytest.mark.parametrize("line", ["gave its office up", "A pulse is missed", "the crew ended"])
def test_a_retired_word_is_found(line):
    """The patterns can fail."""
    assert _retired_in(line)


@pytest.mark.parametrize("line", ["Microsoft-Office-like", "libreoffice", "impulse", "officer"])
def test_a_longer_word_is_not_taken_for_one(line):
    """Whole words only."""
    assert not _retired_in(line)


def test_the_glossary_defines_the_words_that_took_their_place():
    """Whoever is refused a word finds the one to use."""
    text = (ROOT / "docs/glossary.md").read_text().lower()

    for word in ("leadership", "term", "leader heartbeat", "term record", "guard", "worker"):
        assert f"**{word}**" in text or f"## {word}" in text or f"### {word}" in text, word

"""The shape of the tree: how long things are, what they are called, what must not be in them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.support.tree import (
    COMMITTED,
    PYTHON,
    ROOT,
    file_lengths,
    function_lengths,
    is_generated,
    name_of,
)

FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 60
FILE_BYTES_MAX = 300_000
PICTURES = {".png"}
"""Files that are no text."""
HOMELESS = {"utils", "util", "common", "helpers", "base", "types", "misc"}
NAMES_OF_OTHERS = {
    "types.py": "mgr/argument/types.py: the argument types of Ceph's descriptor language",
}
TOP_LEVEL = {
    "bench", "deploy", "docs", "examples", "mgr", "modules", "proto", "standby", "tests", ".ci",
}  # fmt: skip


def test_no_file_is_longer_than_five_hundred_lines():
    """A longer one has two subjects; find the seam."""
    assert [entry for entry in file_lengths() if entry[0] > FILE_LINES_MAX] == []


def test_no_function_is_longer_than_sixty_lines():
    """What does not fit on a screen is not read."""
    assert [entry for entry in function_lengths() if entry[0] > FUNCTION_LINES_MAX] == []


def test_every_file_is_named_by_its_noun():
    """A thing without a home has not been understood yet."""
    homeless = [name_of(path) for path in PYTHON if path.stem in HOMELESS]

    assert [name for name in homeless if Path(name).name not in NAMES_OF_OTHERS] == []


def test_an_init_file_holds_a_docstring_and_nothing_else():
    """Except the public faces: what modules are written against, by its names, and the client."""
    faces = {"mgr/module_api/__init__.py", "mgr/client/__init__.py"}
    faces |= {name_of(path) for path in (ROOT / "mgr/ceph_names").glob("*/__init__.py")}
    full = [
        name_of(path)
        for path in PYTHON
        if path.name == "__init__.py"
        and path.parts[len(ROOT.parts)] in {"mgr", "standby", "modules"}
        and len(ast.parse(path.read_text()).body) > 1
    ]

    assert set(full) <= faces


def test_there_is_no_new_folder_at_the_top():
    """Another one needs a decision record."""
    folders = {path.relative_to(ROOT).parts[0] for path in COMMITTED if path.parent != ROOT}

    assert folders <= TOP_LEVEL


def test_no_large_file_is_committed():
    """A repository is cloned by everybody for ever."""
    assert [name_of(path) for path in COMMITTED if path.stat().st_size > FILE_BYTES_MAX] == []


def test_text_files_end_with_one_newline_and_no_line_with_blanks():
    """Otherwise the next change shows lines that nobody touched."""
    found = []
    for path in COMMITTED:
        if path.suffix in PICTURES:
            continue
        text = path.read_text(encoding="utf-8")
        if is_generated(path) or not text:
            continue
        if not text.endswith("\n") or text.endswith("\n\n"):
            found.append(f"{name_of(path)}: its end")
        blanks = [n for n, line in enumerate(text.split("\n"), 1) if line != line.rstrip(" \t\r")]
        found += [f"{name_of(path)}:{number}" for number in blanks]

    assert found == []


def test_nothing_committed_names_one_machine():
    """A path of somebody's machine, or its package mirror, works there only."""
    mine = Path(__file__)
    places = re.compile(r"/(?:home|root|Users|work)/")
    mirrors = re.compile(r"(?:index-url|find-links)[ =]+(?:https?|file):|--trusted-host")

    found = [
        f"{name_of(path)}:{number}: {line.strip()}"
        for path in COMMITTED
        if path != mine and path.suffix not in PICTURES
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if places.search(line) or mirrors.search(line)
    ]

    assert found == []


def test_every_waiver_says_which_rule_and_why():
    """``noqa`` and ``type: ignore`` carry their code; an unexplained one hides the next fault."""
    bare = re.compile(r"#\s*noqa(?!: [A-Z]+[0-9]+)|#\s*type:\s*ignore(?!\[)")

    found = [
        f"{name_of(path)}:{number}"
        for path in PYTHON
        if path != Path(__file__)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if bare.search(line)
    ]

    assert found == []

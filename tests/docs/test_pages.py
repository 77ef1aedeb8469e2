"""Documentation that cannot drift: what is written from code is as the code says it."""

from __future__ import annotations

import ast
import functools
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, PAGES
from tests.support.tree import COMMITTED, PYTHON, ROOT, name_of

ADRS = sorted((DOCS / "adr").glob("[0-9]*.md"))
MARKDOWN = [path for path in COMMITTED if path.suffix == ".md"]
NO_HEALTH_CODES = {
    *("MGR_CONTEXT", "MGR_DAEMON", "MGR_DAEMON_REVISION", "MGR_FAILPOINTS", "MGR_HOSTS"),
    *("MGR_JOIN_TOKEN", "MGR_SELFTEST", "MGR_TRACE_ENDPOINT", "MGR_UNIX_SOCKET"),
}
"""Texts that begin like a health code: variables, and what only tests raise."""
LEVELS = {name: name.upper() for name in ("debug", "info", "warning", "error", "critical")} | {
    "exception": "ERROR",
    "failing": "WARNING",
}
"""Methods that write a log line at one level; ``log`` and ``recovered`` take it as an argument."""
LOGGERS = {**dict.fromkeys(LEVELS, 0), "log": 1, "failing": 1, "recovered": 1}
"""Methods that write a log line, and the position of its text."""
LOGGER = re.compile(r"(?:^|\.)_?(?:log|logger|retry_log|log_of\(\w+\))$")
"""What such a method is called on: ``self.log``, ``_logger``, ``retry_log``, ``_log_of(it)``."""
QUIET = {"DEBUG", "INFO"}
ONLY_A_VARIABLE = "%s"
"""A module passes on a text that it has made: nothing to search for."""
AT_ERROR = {"error", "exception", "critical"}
PRODUCT = {"mgr", "standby", "modules"}
README_LINES_MAX = 200
HEADINGS = ("Context", "Decision", "Rejected", "Consequences")


@pytest.mark.parametrize("page", PAGES)
def test_a_generated_page_is_what_its_generator_writes(page):
    """Otherwise: ``make docs``."""
    assert (DOCS / page).read_text() == PAGES[page]()


@pytest.mark.parametrize("page", sorted((DOCS / "man").glob("*")), ids=name_of)
def test_a_manual_page_is_one_that_a_program_writes_and_troff_reads(page):
    """No page of a program that is gone; no line that is a request by mistake."""
    assert f"man/{page.name}" in PAGES
    text = page.read_text()
    requests = {line.split()[0] for line in text.splitlines() if line.startswith((".", "'"))}
    assert requests <= {".TH", ".SH", ".TP", ".B", ".PP", ".nf", ".fi"}
    assert [
        each for each in ("NAME", "SYNOPSIS", "DESCRIPTION") if f".SH {each}\n" not in text
    ] == []
    if groff := shutil.which("groff"):
        done = subprocess.run(
            [groff, "-man", "-Tutf8", "-ww", "-z", page],
            capture_output=True,
            check=False,
            timeout=30,
        )
        assert (done.returncode, done.stderr) == (0, b"")


def test_the_conformance_page_has_a_whole_row_for_every_module():
    """Its shape only: it is written by ``make conformance-page``, from what the network has."""
    page = (DOCS / "reference/conformance.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| `")]

    share = r"(-|\d+ of \d+)"
    row = re.compile(rf"\| `\w+` \| (yes|no) \| (yes|no) \| {share} \| {share} \| .*\S \|")
    assert len(rows) > 80
    assert [line for line in rows if not row.fullmatch(line)] == []


@pytest.mark.parametrize("path", ADRS, ids=name_of)
def test_a_decision_record_has_its_number_and_its_headings(path):
    """What was decided, what was rejected, what follows."""
    text = path.read_text()
    number = int(path.name[:4])

    assert text.startswith((f"# {number}. ", f"# {number} ", f"# ADR {number}"))
    found = re.findall(r"^## (\w+)", text, re.MULTILINE)
    assert [heading for heading in HEADINGS if heading not in found] == []


def test_no_two_decision_records_have_one_number():
    """A number is a name: code refers to it."""
    numbers = [int(path.name[:4]) for path in ADRS]

    assert len(numbers) == len(set(numbers))


def paths_in(text: str) -> set[str]:
    """Everything in backquotes that looks like a path of this tree."""
    tops = "|".join(sorted({p.name for p in ROOT.iterdir() if p.is_dir() and p.name[0] != "."}))
    return set(re.findall(rf"`((?:{tops})/[\w./-]*)`", text))


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", *(
    name_of(path) for path in MARKDOWN if path.is_relative_to(DOCS)
)])  # fmt: skip
def test_every_path_that_a_page_names_exists(page):
    """The map of the README above all: a newcomer follows it."""
    named = paths_in((ROOT / page).read_text())

    assert sorted(path for path in named if not (ROOT / path).exists()) == []


def test_every_setting_has_a_meaning():
    """A row of the table without words would be worse than none."""
    rows = (DOCS / "reference/settings.md").read_text().splitlines()[8:]

    assert rows
    assert [row for row in rows if re.search(r"\|\s*\|", row)] == []


def test_every_health_code_is_explained():
    """And none that nobody raises."""
    code = re.compile(r"[\"']((?:MGR|ORCH)_[A-Z]+(?:_[A-Z]+)*|RECENT(?:_[A-Z]+)+)[\"']")
    raised = {found for path in product() for found in code.findall(path.read_text())}

    page = (DOCS / "reference/log-and-health.md").read_text()
    explained = set(re.findall(r"^\| `([A-Z_]+)` \| (?:error|warning)", page, re.MULTILINE))

    assert explained == raised - NO_HEALTH_CODES


def product() -> list[Path]:
    """The files that run in managers, in agents and in programs that use the client library."""
    return [path for path in PYTHON if path.relative_to(ROOT).parts[0] in PRODUCT]


@functools.cache
def logged() -> dict[str, set[str]]:
    """The constant text of every log line, with its levels; "" for a level that varies.

    Every other constant of a module is in it, too, without a level: it may be logged elsewhere.
    """
    found: dict[str, set[str]] = {}
    for path in product():
        tree = ast.parse(path.read_text())
        constants = {
            ast.unparse(node.target): node.value.value
            for node in tree.body
            if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Constant)
        }
        for constant in constants.values():
            found.setdefault(constant, set())
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            method = call.func
            if not isinstance(method, ast.Attribute) or method.attr not in LOGGERS:
                continue
            if LOGGER.search(ast.unparse(method.value)):
                text = call.args[LOGGERS[method.attr]]
                value = (
                    text.value
                    if isinstance(text, ast.Constant)
                    else constants.get(ast.unparse(text), ONLY_A_VARIABLE)
                )
                found.setdefault(value, set()).add(_level(call, method.attr))
    return found


def _level(call: ast.Call, method: str) -> str:
    if method != "log":
        return LEVELS.get(method, "")
    level = ast.unparse(call.args[0]).removeprefix("logging.")
    return level if level in LEVELS.values() else ""


def explained_lines() -> list[tuple[str, str]]:
    """Every log line of the page for those on call, with the cell that has its levels."""
    page = (DOCS / "reference/log-and-health.md").read_text()
    rows = re.findall(r"^\| (`[^`]+`(?:, `[^`]+`)*) \| ([A-Z]{4}[^|]*) \|", page, re.MULTILINE)
    return [(text, levels) for cell, levels in rows for text in re.findall(r"`([^`]+)`", cell)]


def test_every_log_line_of_the_page_for_those_on_call_exists():
    """A line that is renamed must not leave its old text behind; and none is there twice."""
    explained = [text for text, _ in explained_lines()]

    assert len(explained) > 40
    assert sorted(set(explained) - set(logged())) == []
    assert sorted(text for text in set(explained) if explained.count(text) > 1) == []


def test_every_warning_and_error_in_the_log_is_explained():
    """Whoever is on call finds the line on the page, with its level, and what to do."""
    explained = dict(explained_lines())
    loud = {text: levels - QUIET for text, levels in logged().items() if text != ONLY_A_VARIABLE}

    assert sum(map(bool, loud.values())) > 150
    assert [text for text, levels in loud.items() if levels and text not in explained] == []
    assert [
        (text, level)
        for text, levels in loud.items()
        for level in levels
        if level not in explained[text]
    ] == []


def test_every_error_of_a_manager_has_a_constant_text():
    """What varies is in fields, so that the text can be searched."""
    texts = [
        ast.unparse(call.args[0])
        for path in product()
        if path.relative_to(ROOT).parts[0] != "modules"
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr in AT_ERROR
        and ast.unparse(call.func.value) == "log"
    ]

    assert len(texts) > 40
    assert [text for text in texts if "%" in text or text[0] not in "\"'"] == []


def test_the_glossary_is_in_alphabetical_order():
    """And each term has a sentence."""
    page = (DOCS / "glossary.md").read_text()
    terms = re.findall(r"^### (.+)\n\S(?:.+\n)*.*\.$", page, re.MULTILINE)

    assert terms == re.findall(r"^### (.+)$", page, re.MULTILINE)
    assert terms == sorted(terms, key=str.casefold)


def test_every_term_of_the_glossary_is_linked_from_a_page():
    """Where it is first used, a reader can look it up."""
    terms = re.findall(r"^### (.+)$", (DOCS / "glossary.md").read_text(), re.MULTILINE)
    linked = {
        anchor
        for path in MARKDOWN
        for anchor in re.findall(r"glossary\.md#([\w-]+)\)", path.read_text())
    }

    assert [term for term in terms if term.lower().replace(" ", "-") not in linked] == []


def test_the_readme_begins_with_two_commands():
    """The first screen is all that most people read."""
    first_screen = "\n".join((ROOT / "README.md").read_text().splitlines()[:20])

    assert "make demo" in first_screen
    assert "make test" in first_screen
    assert len((ROOT / "README.md").read_text().splitlines()) <= README_LINES_MAX


def test_every_target_that_a_page_names_exists():
    """``make`` targets in prose and in shell blocks."""
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z0-9-]+):", makefile, re.MULTILINE))

    for page in MARKDOWN:
        named = re.findall(r"(?:`|^)make ([a-z0-9-]+)", page.read_text(), re.MULTILINE)
        assert set(named) <= targets, name_of(page)

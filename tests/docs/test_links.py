"""Every relative link and anchor of every page leads somewhere."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from tests.support.tree import COMMITTED, name_of

MARKDOWN = [path for path in COMMITTED if path.suffix == ".md"]
CODE = re.compile(r"^( *)```.*?^\1```", re.MULTILINE | re.DOTALL)
INLINE_CODE = re.compile(r"`[^`\n]*`")
LINK = re.compile(r"\]\(([^)\s]+)\)|^\[[^\]]+\]: (\S+)", re.MULTILINE)
ELSEWHERE = re.compile(r"[a-z]+:")


@cache
def anchors(path: Path) -> frozenset[str]:
    """The anchors of a page's headings, as the usual forges and the site generator make them."""
    found: dict[str, int] = {}
    for heading in re.findall(r"^#{1,6} +(.+?) *$", CODE.sub("", path.read_text()), re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", re.sub(r"\]\([^)]*\)", "", heading).lower())
        slug = slug.replace(" ", "-")
        count = found[slug] = found.get(slug, -1) + 1
        if count:
            found[f"{slug}-{count}"] = 0
    return frozenset(found)


def links(path: Path) -> list[str]:
    text = INLINE_CODE.sub("", CODE.sub("", path.read_text()))
    return [first or second for first, second in LINK.findall(text)]


@pytest.mark.parametrize("path", MARKDOWN, ids=name_of)
def test_every_relative_link_and_anchor_exists(path):
    broken = []
    for link in links(path):
        if ELSEWHERE.match(link):
            continue
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)

    assert broken == []


def test_the_finder_of_anchors_finds_what_is_wrong(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# One `thing`: it's\n\n## Two\n\n## Two\n\n```text\n# No heading\n```\n")

    assert anchors(page) == {"one-thing-its", "two", "two-1"}

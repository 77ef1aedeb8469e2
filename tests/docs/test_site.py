"""The web site of the pages: a strict build, and nothing in it that another host would serve."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from tests.support.tree import ROOT

MKDOCS = next(iter(sorted(ROOT.glob(".cache/site-*/bin/mkdocs"))), None) or shutil.which("mkdocs")
LOADED = re.compile(
    r"<(?:script|img|iframe)[^>]*\bsrc=[\"']?(?:https?:)?//"
    r"|<link[^>]*\brel=[\"']?(?:stylesheet|preconnect|preload)[^>]*\bhref=[\"']?(?:https?:)?//"
    r"|@import url\(|url\((?:https?:)?//"
    r"|(?:unpkg\.com|jsdelivr\.net|cdnjs|googleapis\.com|gstatic\.com)"
)
"""What a browser would fetch from elsewhere."""


def test_every_page_is_in_the_navigation():
    """The strict build refuses a page that is not; this finds it without the generator."""
    named = set(re.findall(r"[\w/.-]+\.md", (ROOT / "mkdocs.yml").read_text()))

    pages = {str(path.relative_to(ROOT / "docs")) for path in ROOT.glob("docs/**/*.md")}

    assert pages == named


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.skipif(MKDOCS is None, reason="no site generator: make site installs it")
def test_the_site_builds_strictly_and_loads_nothing_from_elsewhere(tmp_path):
    """`make site`: a broken link, a missing page or a wrong anchor would fail."""
    built = subprocess.run(
        [str(MKDOCS), "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert built.returncode == 0, built.stderr
    files = [p for p in (tmp_path / "site").rglob("*") if p.suffix in {".html", ".js", ".css"}]
    assert len(files) > 80
    assert [path.name for path in files if LOADED.search(path.read_text())] == []

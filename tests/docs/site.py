"""Hooks of the site generator (`mkdocs.yml`): the built site refers to no other host."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

CDN = re.compile(r"https://unpkg\.com/")
"""The theme's script names it for diagrams, which this site shows as code blocks."""


def on_post_build(config: Any, **_: Any) -> None:
    """Remove the address from the theme's scripts."""
    for path in Path(config["site_dir"]).glob("assets/javascripts/*.js"):
        text = path.read_text(encoding="utf-8")
        if CDN.search(text):
            path.write_text(CDN.sub("./", text), encoding="utf-8")
    for path in Path(config["site_dir"]).glob("assets/javascripts/*.map"):
        path.unlink()

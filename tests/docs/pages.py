"""Pages that are written by the code they describe. ``make docs`` writes them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from mgr.settings import ENVIRONMENT_PREFIX, describe

DOCS = Path(__file__).parents[2] / "docs"


def settings() -> str:
    """Every setting of ``mgrd``."""
    rows = [
        f"| `{name}` | `--{name.replace('_', '-')}` | `{ENVIRONMENT_PREFIX}{name.upper()}` "
        f"| {kind} | {_default(name, default)} | {words} |"
        for name, kind, default, words in describe()
    ]
    return "\n".join(
        [
            "# Settings",
            "",
            "What `mgrd` is told at its start. Later wins: default, file (`--config FILE`, TOML),",
            "environment, flag.",
            "Written by `make docs` from `mgr/settings.py`.",
            "",
            "| in the file | flag | variable | kind | default | meaning |",
            "|---|---|---|---|---|---|",
            *rows,
            "",
        ]
    )


def decisions() -> str:
    """The list of decision records."""
    rows = [f"- [{_title(path)}]({path.name})" for path in sorted((DOCS / "adr").glob("[0-9]*.md"))]
    return "\n".join(
        [
            "# Decision records",
            "",
            "One page each: context, decision, what was rejected and why, consequences. An",
            "accepted record is not edited; a later one supersedes it. Code refers to a record by",
            "its number. Listed by `make docs`.",
            "",
            *rows,
            "",
        ]
    )


PAGES: dict[str, Callable[[], str]] = {
    "reference/settings.md": settings,
    "adr/README.md": decisions,
}


def _default(name: str, default: object) -> str:
    if name == "id":
        return "the host's name"
    if isinstance(default, tuple):
        default = ",".join(default)
    text = str(default).lower() if isinstance(default, bool) else str(default)
    return f"`{text}`" if text else "empty"


def _title(path: Path) -> str:
    first = path.read_text().splitlines()[0]
    return re.sub(r"^#\s*", "", first)


if __name__ == "__main__":
    for page, text in PAGES.items():
        (DOCS / page).write_text(text())

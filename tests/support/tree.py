"""The files of this repository, for tests about their shape."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]

IGNORED = re.compile(r"(^|/)(\.(?!ci/|gitignore|pre-commit)|__pycache__|build|dist|.*\.egg-info)")
"""Where git cannot be asked (an unpacked archive): what .gitignore means, roughly."""


def committed() -> list[Path]:
    """What git would ship: committed or about to be."""
    git = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        said = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        found = (str(path.relative_to(ROOT)) for path in ROOT.rglob("*"))
        said = "\n".join(name for name in found if not IGNORED.search(name))
    return sorted(path for name in said.splitlines() if (path := ROOT / name).is_file())


def is_generated(path: Path) -> bool:
    return path.is_relative_to(ROOT / "mgr/rpc/v1")


COMMITTED = committed()
PYTHON = [path for path in COMMITTED if path.suffix == ".py" and not is_generated(path)]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def file_lengths() -> list[tuple[int, str]]:
    """Every file's lines and name, the longest first."""
    return sorted(((len(p.read_text().splitlines()), name_of(p)) for p in PYTHON), reverse=True)


def function_lengths() -> list[tuple[int, str]]:
    """Every function's lines, docstring included, and where it stands, the longest first."""
    found = [
        ((node.end_lineno or node.lineno) - node.lineno + 1, f"{name_of(path)}: {node.name}")
        for path in PYTHON
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    return sorted(found, reverse=True)

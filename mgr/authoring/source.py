"""The folder of a module, as the author's kit is given it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from mgr.errors import NotFoundError

FILE: Final = "module.py"
SKIPPED: Final = frozenset({"__pycache__", "node_modules", "build", "dist"})
TEST_NAMES: Final = ("test_*.py", "*_test.py")


@dataclass(frozen=True)
class ModuleSource:
    """A folder with a ``module.py``.

    Attributes:
        folder: Its absolute path; its name is the module's.

    """

    folder: Path

    @classmethod
    def at(cls, path: str | Path) -> ModuleSource:
        """Return the module in folder ``path``; ``path`` may also be its ``module.py``.

        Raises:
            NotFoundError: There is none.

        """
        place = Path(path).absolute()
        folder = place.parent if place.name == FILE and place.is_file() else place
        if not (folder / FILE).is_file():
            raise NotFoundError(f"no module in {path}: name a folder with a file {FILE}")
        return cls(folder)

    @property
    def name(self) -> str:
        """Return the name of the module."""
        return self.folder.name

    def files(self) -> list[Path]:
        """Return every file that belongs to the module, sorted; caches and hidden ones do not."""
        return sorted(
            path
            for path in self.folder.rglob("*")
            if path.is_file() and not self._skipped(path.relative_to(self.folder))
        )

    def tests(self) -> list[Path]:
        """Return its test files: in its folder or in ``tests`` beside it."""
        beside = self.folder.parent / "tests"
        own = [path for path in self.files() if any(map(path.match, TEST_NAMES))]
        named = (f"test_{self.name}.py", f"test_{self.name}_*.py", f"{self.name}/test_*.py")
        return [*own, *(path for form in named for path in sorted(beside.glob(form)))]

    @cached_property
    def trees(self) -> dict[Path, ast.Module]:
        """The syntax trees of its Python files, tests left out; files that do not parse, too."""
        return dict(self._parsed())

    def _parsed(self) -> Iterator[tuple[Path, ast.Module]]:
        tests = set(self.tests())
        for path in self.files():
            if path.suffix != ".py" or path in tests or "tests" in path.parent.parts[-1:]:
                continue
            try:
                yield path, ast.parse(path.read_text(encoding="utf-8"), str(path))
            except (SyntaxError, ValueError, OSError):
                continue

    @staticmethod
    def _skipped(relative: Path) -> bool:
        return (
            any(part in SKIPPED or part.startswith(".") for part in relative.parts)
            or relative.suffix == ".pyc"
        )

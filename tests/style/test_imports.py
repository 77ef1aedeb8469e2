"""What import-linter cannot see: single names, and files outside the packages."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def imported(path: Path) -> Iterator[str]:
    """Every dotted name that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module or ""


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def test_cephs_names_only_pass_on_what_the_module_api_has():
    """Each class has one home: ``mgr_module.MgrModule is mgr.module_api.MgrModule``.

    Types of arguments have theirs a layer below (docs/adr/0008), as has what an agent is told of a
    daemon; ``json`` is a name of theirs.
    """
    ours = ("mgr.module_api", "mgr.argument", "mgr.deployment", "mgr.errors")
    allowed = (*ours, "json", "typing", "__future__")

    found = {
        f"{path.parent.name}: {name}"
        for path in sources("mgr/ceph_names")
        for name in imported(path)
        if not name.startswith(allowed)
    }

    assert found == set()


@pytest.mark.parametrize("folder", ["mgr", "standby", "modules"])
def test_no_product_code_imports_the_tests(folder):
    """The wheel does not carry them."""
    for path in sources(folder):
        assert not [n for n in imported(path) if n.partition(".")[0] in {"tests", "bench"}], path


def test_asking_for_help_does_not_import_grpc():
    """``mgrctl --help`` and completion answer at once; gRPC alone costs a quarter second."""
    heavy = ("grpc", "google", "rich", "mgr.rpc")

    found = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in [ROOT / "mgr/cli/main.py"]
        for node in ast.parse(path.read_text()).body
        for name in imported_here(node)
        if name.startswith(heavy)
    }

    assert found == set()


def imported_here(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []


def test_one_place_asks_which_release_is_installed():
    """Everybody else calls ``mgr.version.installed_version``."""
    found = {
        str(path.relative_to(ROOT))
        for path in sources("mgr", "standby", "modules")
        if 'version("mgrd")' in path.read_text()
    }

    assert found == {"mgr/version.py"}

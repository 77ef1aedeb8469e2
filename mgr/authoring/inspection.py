"""The rules of ``mgrctl module check`` that are read off the files, without running them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from mgr.authoring.rules import Finding
from mgr.authoring.source import ModuleSource

OF_THE_MANAGER: Final = frozenset({"mgr", "standby", "modules"})
BASES: Final = frozenset({"MgrModule", "MgrStandbyModule"})
CALLBACKS: Final = frozenset({"notify", "config_notify", "shutdown", "handle_command"})
COMMAND_MARKS: Final = ("CLI", "Command")
DOCS: Final = ("README.md", "README.rst", "README", "docs")
NEED_A_TIMEOUT: Final = frozenset(
    {
        "subprocess.run",
        "subprocess.call",
        "subprocess.check_call",
        "subprocess.check_output",
        "urlopen",
        "urllib.request.urlopen",
        "socket.create_connection",
        *(f"requests.{verb}" for verb in ("get", "post", "put", "delete", "head", "request")),
    }
)
"""Functions that may wait for ever unless they are given ``timeout``."""
WAITS: Final = frozenset({"join", "wait", "result", "communicate"})
"""Methods that may wait for ever if they are called without an argument."""
OWN_LIMIT: Final = "CommandResult"
"""Its ``wait`` takes no argument and has a limit."""
SHOWN_MAX: Final = 5

_Function = ast.FunctionDef | ast.AsyncFunctionDef


def inspect_files(source: ModuleSource) -> Iterator[Finding]:
    """Yield how the module stands to each rule that needs no run."""
    yield _finding("public-names", list(_foreign_imports(source)))
    yield _finding("test-present", [] if source.tests() else ["no test_*.py"])
    yield _finding("docs-present", list(_missing_docs(source)))
    yield _finding("callbacks-return", list(_blocking(source)))
    yield _finding("annotated", list(_untyped(source)))


def _finding(rule: str, problems: list[str]) -> Finding:
    shown = problems[:SHOWN_MAX]
    if more := len(problems) - len(shown):
        shown.append(f"and {more} more")
    return Finding(rule, not problems, "; ".join(shown))


def _foreign_imports(source: ModuleSource) -> Iterator[str]:
    for path, tree in source.trees.items():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Import | ast.ImportFrom):
                continue
            names = [each.name for each in node.names]
            if isinstance(node, ast.ImportFrom):
                names = [] if node.level else [node.module or ""]
            for name in names:
                if name.partition(".")[0] in OF_THE_MANAGER:
                    yield f"{_place(source, path, node)} imports {name}"


def _missing_docs(source: ModuleSource) -> Iterator[str]:
    if not any((source.folder / name).exists() for name in DOCS):
        yield "no README.md"
    for path, tree in source.trees.items():
        classes = [
            node for node in tree.body if isinstance(node, ast.ClassDef) and _is_module(node)
        ]
        if classes and not ast.get_docstring(tree) and not _package_docstring(source):
            yield f"{path.relative_to(source.folder)} has no docstring"
        for node in classes:
            if not ast.get_docstring(node):
                yield f"{_place(source, path, node)} class {node.name} has no docstring"


def _package_docstring(source: ModuleSource) -> bool:
    tree = source.trees.get(source.folder / "__init__.py")
    return tree is not None and bool(ast.get_docstring(tree))


def _untyped(source: ModuleSource) -> Iterator[str]:
    for path, tree in source.trees.items():
        for node in ast.walk(tree):
            if isinstance(node, _Function) and (what := _missing_types(node)):
                yield f"{_place(source, path, node)} {node.name}: {what}"


def _missing_types(node: _Function) -> str:
    arguments = node.args
    given = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    given += [each for each in (arguments.vararg, arguments.kwarg) if each]
    bare = [
        each.arg for each in given if each.annotation is None and each.arg not in {"self", "cls"}
    ]
    if bare:
        return f"no type of {', '.join(bare)}"
    return "no return type" if node.returns is None else ""


def _blocking(source: ModuleSource) -> Iterator[str]:
    for path, tree in source.trees.items():
        has_results = any(
            isinstance(node, ast.Name) and node.id == OWN_LIMIT for node in ast.walk(tree)
        )
        for cls in ast.walk(tree):
            if isinstance(cls, ast.ClassDef) and _is_module(cls):
                methods = {node.name: node for node in cls.body if isinstance(node, _Function)}
                for method, caller in _reached(methods).items():
                    for call in _calls(methods[method]):
                        if what := _blocks(call, has_results=has_results):
                            via = "" if method == caller else f", called by {caller}"
                            yield f"{_place(source, path, call)} {method}{via}: {what}"


def _reached(methods: dict[str, _Function]) -> dict[str, str]:
    """Return the methods that callbacks and commands run, each with the one it begins at."""
    reached: dict[str, str] = {}
    for name, node in methods.items():
        if name in CALLBACKS or any(map(_is_command, node.decorator_list)):
            waiting = [name]
            while waiting:
                current = waiting.pop()
                if current in methods and current not in reached:
                    reached[current] = name
                    waiting += [
                        called for call in _calls(methods[current]) if (called := _own(call))
                    ]
    return reached


def _calls(node: ast.AST) -> Iterator[ast.Call]:
    """Yield the calls of a function; of functions in it none: they run at another time."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, _Function | ast.Lambda):
            continue
        if isinstance(child, ast.Call):
            yield child
        yield from _calls(child)


def _blocks(call: ast.Call, *, has_results: bool) -> str:
    name = _dotted(call.func)
    timed = any(each.arg in {"timeout", None} for each in call.keywords)
    if name in {"time.sleep", "sleep", "input"}:
        return f"{name}() blocks"
    if name in NEED_A_TIMEOUT and not timed:
        return f"{name}() has no timeout"
    last = name.rpartition(".")[2]
    if last in WAITS and "." in name and not call.args and not timed:
        return "" if has_results and last == "wait" else f"{last}() has no limit"
    return ""


def _is_module(node: ast.ClassDef) -> bool:
    return any(_dotted(base).rpartition(".")[2] in BASES for base in node.bases)


def _is_command(decorator: ast.expr) -> bool:
    name = _dotted(decorator.func if isinstance(decorator, ast.Call) else decorator)
    return any(mark in name for mark in COMMAND_MARKS)


def _own(call: ast.Call) -> str:
    name = _dotted(call.func)
    return name.removeprefix("self.") if name.startswith("self.") else ""


def _dotted(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=name):
            return f"{_dotted(value)}.{name}"
        case ast.Call(func=function):
            return f"{_dotted(function)}()"
        case _:
            return "?"


def _place(source: ModuleSource, path: Path, node: ast.stmt | ast.expr) -> str:
    return f"{path.relative_to(source.folder)}:{node.lineno}"

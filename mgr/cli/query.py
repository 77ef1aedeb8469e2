"""Queries and templates over the JSON of an answer: ``-o jsonpath=...`` and the like.

The libraries are imported when a query is used: no other command waits for them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from mgr.errors import InvalidArgumentError, NotFoundError, why

JSONPATH: Final = "jsonpath="
TEMPLATE: Final = "template="
TEMPLATE_FILE: Final = "template-file="
KINDS: Final = (JSONPATH, TEMPLATE, TEMPLATE_FILE)
"""Values of ``-o`` that begin so are queries. A file of such a name is ``-o ./jsonpath=...``."""


def is_query(out_file: str | None) -> bool:
    """Return whether the value of ``-o`` is a query and no file."""
    return out_file is not None and out_file.startswith(KINDS)


def apply(query: str, data: bytes) -> bytes:
    """Apply ``query`` to the JSON document ``data``; return the results, one per line.

    Raises:
        InvalidArgumentError: The query is wrong, or the answer is no JSON.
        NotFoundError: A JSONPath query matches nothing.

    """
    try:
        document = json.loads(data or b"null")
    except ValueError:
        raise InvalidArgumentError("the answer of this command is no JSON: leave out -o") from None
    kind = next(each for each in KINDS if query.startswith(each))
    text = query.removeprefix(kind)
    try:
        if kind == JSONPATH:
            lines = _matches(text, document)
        else:
            lines = [_rendered(text if kind == TEMPLATE else _template_in(text), document)]
    except (RecursionError, MemoryError):
        raise InvalidArgumentError(f"{kind} is too deep, or makes too much") from None
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines).encode()


def _matches(text: str, document: Any) -> list[str]:
    from jsonpath import JSONPathEnvironment, JSONPathError  # noqa: PLC0415 - see the module

    # As kubectl takes it: braces around it, and no $ before the first name.
    path = text.strip()
    if path.startswith("{") and path.endswith("}"):
        path = path[1:-1].strip()
    if not path.startswith("$"):
        path = f"${path}" if path.startswith((".", "[")) else f"$.{path}"
    try:
        found = JSONPathEnvironment(strict=True).findall(path, document)
    except JSONPathError as error:
        first = str(error).splitlines()[0]
        raise InvalidArgumentError(f"jsonpath '{text}': {first}") from None
    if not found:
        raise NotFoundError(f"jsonpath '{text}' matches nothing in this answer")
    return [each if isinstance(each, str) else json.dumps(each) for each in found]


def _rendered(text: str, document: Any) -> str:
    from jinja2 import StrictUndefined, TemplateError  # noqa: PLC0415 - see the module
    from jinja2.sandbox import ImmutableSandboxedEnvironment  # noqa: PLC0415 - see the module

    # In a sandbox: a template may come from somebody else. What it makes is text, not HTML.
    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False
    )
    names = document if isinstance(document, dict) else {}
    try:
        return environment.from_string(text).render({**names, "answer": document})
    except (
        TemplateError,
        TypeError,
        ArithmeticError,
        ValueError,
        LookupError,
        AttributeError,
    ) as error:
        raise InvalidArgumentError(f"template: {error}") from None


def _template_in(file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgumentError(f"cannot read the template {file}: {why(error)}") from None

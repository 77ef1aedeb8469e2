"""Output formats of the built-in commands: plain, JSON, YAML, XML. Each command has all of them."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
import yaml

from mgr.errors import InvalidArgumentError
from mgr.text import encodable, one_line

PLAIN: Final = "plain"
FORMATS: Final = (PLAIN, "json", "json-pretty", "yaml", "xml", "xml-pretty")
INDENT: Final = 4

# The C dumper, if PyYAML was built with it: the Python one blocks the event loop for 2 ms per
# hundred lines.
_YAML: Final = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_XML_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
# Characters that an XML 1.0 document may not contain, not even escaped.
_XML_FORBIDDEN: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def checked_format(name: object) -> str:
    """Return the format called ``name``; plain if ``name`` is None.

    Raises:
        InvalidArgumentError: There is no such format; the message lists all.

    """
    if name is None:
        return PLAIN
    if name not in FORMATS:
        raise InvalidArgumentError(f"unknown format '{name}': use one of {', '.join(FORMATS)}")
    return str(name)


def render(data: Any, form: str, *, plain: str | None = None) -> str:
    """Return ``data`` as text in the format ``form``.

    The plain format is the text ``plain``, or pretty JSON if that is None. ``data`` is made of
    mappings, sequences, text, numbers, booleans and None; None alone gives no text in any format.
    A result that is not empty ends with a newline.
    """
    if form == PLAIN and plain is not None:
        return _with_newline(plain)
    if data is None:
        return ""
    simple = _simple(data)
    if form == "json":
        return _with_newline(msgspec.json.encode(simple).decode())
    if form == "yaml":
        text = yaml.dump(
            simple, Dumper=_YAML, sort_keys=False, allow_unicode=True, default_flow_style=False
        )
        return _with_newline(text.removesuffix("...\n"))
    if form.startswith("xml"):
        pretty = form == "xml-pretty"
        return _with_newline("".join(_xml("result", simple, 0 if pretty else None)))
    return _with_newline(msgspec.json.format(msgspec.json.encode(simple), indent=INDENT).decode())


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table with aligned columns, two blanks apart, without blanks at line ends.

    Control characters are escaped: a cell that a client chose must not look like another row.
    """
    lines = [[one_line(str(cell)) for cell in row] for row in (headings, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _with_newline(text: str) -> str:
    return text if not text or text.endswith("\n") else f"{text}\n"


def _simple(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {_text(str(key)): _simple(value) for key, value in data.items()}
    if isinstance(data, str):
        return _text(data)
    if isinstance(data, int | float) or data is None:
        return data
    if isinstance(data, Iterable):
        return [_simple(value) for value in data]
    return _text(str(data))


def _text(text: str) -> str:
    # Another program may have written invalid UTF-8 into the store; it is read as lone surrogates.
    # One such value must not fail the whole answer.
    return encodable(text)


def _xml(name: str, value: Any, depth: int | None) -> Iterable[str]:
    # A key that is not a valid XML name (mgr/hello/place) becomes the attribute of an <entry>.
    proper = _XML_NAME.fullmatch(name) is not None
    start = name if proper else f'entry name="{_escaped(name)}"'
    end = name if proper else "entry"
    pad = "" if depth is None else " " * INDENT * depth
    line = "" if depth is None else "\n"
    deeper = None if depth is None else depth + 1
    if isinstance(value, dict | list):
        inner = value.items() if isinstance(value, dict) else [("item", each) for each in value]
        yield f"{pad}<{start}>{line}"
        for key, each in inner:
            yield from _xml(key, each, deeper)
        yield f"{pad}</{end}>{line}"
    else:
        yield f"{pad}<{start}>{_escaped(_scalar(value))}</{end}>{line}"


def _scalar(value: object) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _escaped(text: str) -> str:
    return html.escape(_XML_FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text))

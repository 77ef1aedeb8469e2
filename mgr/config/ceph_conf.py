"""Reads and writes files in the format of ``ceph.conf``: sections of ``name = value`` lines."""

from __future__ import annotations

import configparser
import io
from collections.abc import Iterable
from typing import Final

from mgr.errors import InvalidArgumentError

CHARS_MAX: Final = 64 << 10
LINES_MAX: Final = 2000
"""Limits of a file: it is parsed on the event loop, a line in some microseconds."""


class _Conf(configparser.RawConfigParser):
    """A parser that keeps the case of names and treats no section as the default of others."""

    def __init__(self) -> None:
        super().__init__(default_section="", inline_comment_prefixes=(";", "#"), delimiters=("=",))

    def optionxform(self, optionstr: str) -> str:
        return "_".join(optionstr.split())


def read_conf(text: str) -> list[tuple[str, str, str]]:
    """Return section, name and value of each line, in order; blanks in names become ``_``.

    Raises:
        InvalidArgumentError: The text cannot be parsed; the message names the line.

    """
    if len(text) > CHARS_MAX or text.count("\n") > LINES_MAX:
        raise InvalidArgumentError(
            f"not a conf file: more than {CHARS_MAX} characters or {LINES_MAX} lines"
        )
    conf = _Conf()
    try:
        conf.read_string(text, "the input")
    except configparser.Error as error:
        raise InvalidArgumentError(f"not a conf file: {error}") from None
    return [
        (section, name, value) for section in conf.sections() for name, value in conf.items(section)
    ]


def write_conf(lines: Iterable[tuple[str, str, str]]) -> str:
    """Return the text of a file with these lines, each a section, a name and a value."""
    conf = _Conf()
    for section, name, value in lines:
        if not conf.has_section(section):
            conf.add_section(section)
        conf.set(section, name, value)
    text = io.StringIO()
    conf.write(text)
    return text.getvalue()

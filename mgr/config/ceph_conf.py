"""Files in the form of ``ceph.conf``: sections, and ``name = value`` lines in them."""

from __future__ import annotations

import configparser
import io
from collections.abc import Iterable

from mgr.errors import InvalidArgumentError


class _Conf(configparser.RawConfigParser):
    """Names keep their case, and no section speaks for all."""

    def __init__(self) -> None:
        super().__init__(default_section="", inline_comment_prefixes=(";", "#"), delimiters=("=",))

    def optionxform(self, optionstr: str) -> str:
        return "_".join(optionstr.split())


def read_conf(text: str) -> list[tuple[str, str, str]]:
    """Section, name and value of each line, in order; names as options are called.

    Raises:
        InvalidArgumentError: It cannot be read; the message says which line.

    """
    conf = _Conf()
    try:
        conf.read_string(text, "the input")
    except configparser.Error as error:
        raise InvalidArgumentError(f"not a conf file: {error}") from None
    return [
        (section, name, value) for section in conf.sections() for name, value in conf.items(section)
    ]


def write_conf(lines: Iterable[tuple[str, str, str]]) -> str:
    """A file of these sections, names and values."""
    conf = _Conf()
    for section, name, value in lines:
        if not conf.has_section(section):
            conf.add_section(section)
        conf.set(section, name, value)
    text = io.StringIO()
    conf.write(text)
    return text.getvalue()

"""Parses command descriptors: one line of text that lists a command's words and arguments.

``hello count name=by,type=CephInt,req=false`` is the prefix ``hello count`` and one argument.
Words hold neither comma nor equals sign; arguments are ``key=value`` pairs joined by commas.
Keys: ``name`` and ``type`` (required), ``req=false`` (the argument is optional), ``n`` (number of
values; ``N``: any number), ``positional=false`` (only as ``--name value``), and the keys of the
type: ``range``, ``strings``, ``goodchars``. All behind a lone ``--`` have positional=false.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from mgr.argument.cluster_types import BY_NAME
from mgr.argument.types import CephArgtype, CephBool
from mgr.errors import InvalidArgumentError

CHARS_MAX: Final = 16 << 10
"""Limit of a descriptor."""
END_OF_POSITIONALS: Final = "--"
_OWN_KEYS: Final = frozenset({"name", "type", "req", "positional", "n"})
_FALSE: Final = frozenset({"false", "False"})


class JsonFormat(InvalidArgumentError):  # noqa: N818 - Ceph's name, which code written for it catches
    """A malformed descriptor: a mistake of the command's author."""


class Flag(enum.IntFlag):
    """Flags of a command, with the numbers that Ceph's clients expect."""

    NONE = 0
    NOFORWARD = 1
    OBSOLETE = 2
    DEPRECATED = 4
    MGR = 8
    POLL = 16
    HIDDEN = 32


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a command.

    Attributes:
        name: The argument's key in the request.
        type: The type, which checks and converts one value.
        required: Whether the argument must be given.
        positional: Whether it may be given as a bare word; otherwise only as ``--name``.
        count: The number of values; 0 means one or more (or none, if it is not required).
        attributes: The pairs of the descriptor in order; ``to_text`` joins them again.

    """

    name: str
    type: CephArgtype
    required: bool = True
    positional: bool = True
    count: int = 1
    attributes: tuple[tuple[str, str], ...] = ()

    @property
    def is_list(self) -> bool:
        """Whether the argument's value is a list."""
        return self.count != 1

    @property
    def is_flag(self) -> bool:
        """Whether ``--name`` alone means true."""
        return isinstance(self.type, CephBool)

    def to_text(self) -> str:
        """Return the argument as written in a descriptor."""
        return ",".join(f"{key}={value}" for key, value in self.attributes)

    def to_json(self) -> dict[str, Any]:
        """Return the form sent to clients, with ``req`` and ``positional`` as booleans."""
        description: dict[str, Any] = dict(self.attributes)
        if "req" in description:
            description["req"] = self.required
        if "positional" in description or not self.positional:
            description["positional"] = self.positional
        return description

    def usage(self) -> str:
        """Return the form for a usage line: ``<name:hint>``, ``[--flag]``, ``[<name>...]``."""
        hint = self.type.hint
        shown = f"<{self.name}:{hint}>" if hint else f"<{self.name}>"
        if not self.positional:
            keyword = f"--{self.name.replace('_', '-')}"
            shown = keyword if self.is_flag else f"{keyword} {shown}"
        shown = f"{shown}..." if self.is_list else shown
        return shown if self.required else f"[{shown}]"


@dataclass(frozen=True, slots=True)
class Signature:
    """The words and arguments of one command.

    Attributes:
        prefix: The literal words, joined by a blank; a request names the command by them.
        words: The same, one by one.
        arguments: The arguments in the order in which bare words fill them.

    """

    prefix: str
    arguments: tuple[Argument, ...] = ()
    words: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Split the prefix once: each request compares its words."""
        object.__setattr__(self, "words", tuple(self.prefix.split()))

    @staticmethod
    def parse(text: str) -> Signature:
        """Parse a descriptor.

        Raises:
            JsonFormat: The descriptor is malformed; the message names the word.

        """
        return _parse(text)

    def argument(self, name: str) -> Argument | None:
        """Return the argument called ``name``, None if there is none."""
        return next((each for each in self.arguments if each.name == name), None)

    def to_text(self) -> str:
        """Return the descriptor; ``parse`` gives the same signature again."""
        return " ".join([self.prefix, *(each.to_text() for each in self.arguments)])

    def to_json(self) -> list[Any]:
        """Return the value of ``sig`` in the command list that is sent to Ceph's clients."""
        return [*self.words, *(each.to_json() for each in self.arguments)]

    def usage(self) -> str:
        """Return a usage line: ``hello [<person>] [--shout]``."""
        return " ".join([self.prefix, *(each.usage() for each in self.arguments)])


# Cached: every client that fetches the command list parses the same few hundred texts.
@lru_cache(maxsize=4096)
def _parse(text: str) -> Signature:
    if len(text) > CHARS_MAX:
        raise JsonFormat(f"command {text[:40]!r}...: more than {CHARS_MAX} characters")
    prefix: list[str] = []
    arguments: list[Argument] = []
    positional = True
    for word in text.split():
        if "," in word or "=" in word:
            arguments.append(_argument(word, positional=positional))
        elif word == END_OF_POSITIONALS and arguments:
            positional = False
        elif arguments:
            raise JsonFormat(f"command {text!r}: the word {word!r} stands behind an argument")
        else:
            prefix.append(word)
    if not prefix:
        raise JsonFormat(f"command {text!r} has no words of its own")
    names = [each.name for each in arguments]
    if len(names) != len(set(names)):
        raise JsonFormat(f"command {text!r}: two arguments of one name")
    return Signature(" ".join(prefix), tuple(arguments))


def _argument(word: str, *, positional: bool) -> Argument:
    attributes = tuple(
        (key, value) for key, _, value in (pair.partition("=") for pair in word.split(",") if pair)
    )
    keys = dict(attributes)
    if not positional and "positional" not in keys:
        attributes += (("positional", "false"),)
    for wanted in ("name", "type"):
        if not keys.get(wanted):
            raise JsonFormat(f"argument {word!r} has no {wanted}")
    required = keys.get("req") not in _FALSE
    positional = positional and keys.get("positional") not in _FALSE
    if required and not positional:
        raise JsonFormat(f"argument {word!r}: positional=false needs req=false")
    return Argument(
        name=keys["name"],
        type=_type(word, keys),
        required=required,
        positional=positional,
        count=_count(word, keys.get("n", "1")),
        attributes=attributes,
    )


def _type(word: str, keys: dict[str, str]) -> CephArgtype:
    kind = BY_NAME.get(keys["type"])
    if kind is None:
        raise JsonFormat(f"argument {word!r}: unknown type {keys['type']}")
    try:
        return kind(**{key: value for key, value in keys.items() if key not in _OWN_KEYS})
    except (TypeError, ValueError) as error:
        raise JsonFormat(f"argument {word!r}: {error}") from None


def _count(word: str, text: str) -> int:
    if text in {"N", "n"}:
        return 0
    if not text.isdecimal() or int(text) < 1:
        raise JsonFormat(f"argument {word!r}: n={text} is not a number of values")
    return int(text)

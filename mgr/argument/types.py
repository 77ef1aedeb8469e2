"""The argument types: the text each accepts, the value it becomes, and the error messages.

Names, accepted texts and messages are those of Ceph's command line, so that its documentation stays
valid; its oddities are kept and marked as such. A value that a program gives with its type (a
boolean for ``--yes``) is checked by ``accept``, with the same messages.
"""

from __future__ import annotations

import enum
import os
import re
import string
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

from mgr.errors import InvalidArgumentError


class ArgumentError(InvalidArgumentError):
    """Words or values that do not fit a command's arguments."""


class ArgumentNumber(ArgumentError):  # noqa: N818 - Ceph's names, which code written for it catches
    """Fewer values of a repeated argument than it needs."""


class ArgumentFormat(ArgumentError):  # noqa: N818 - as above
    """A value is malformed."""


class ArgumentMissing(ArgumentError):  # noqa: N818 - as above
    """A required argument was not given."""


class ArgumentValid(ArgumentError):  # noqa: N818 - as above
    """A value is well formed but not allowed."""


class ArgumentTooFew(ArgumentError):  # noqa: N818 - as above
    """Not enough words for this command."""


class ArgumentPrefix(ArgumentError):  # noqa: N818 - as above
    """The words are not those of this command."""


NUMBER_CHARS_MAX: Final = 400
"""Characters of a number. Python raises ValueError for one of some thousand digits."""
BAD_CHARS_MAX: Final = 200
"""Characters that an error names as invalid."""


class CephArgtype:
    """Base class of the types. Instances are immutable; they store nothing that they parse."""

    label: ClassVar[str] = ""
    """The placeholder for a value in a usage line; empty if any text is valid."""

    def parse(self, text: str, *, partial: bool = False) -> Any:  # noqa: ARG002 - for completion
        """Return the value of ``text``; with ``partial``, the beginning of a value is valid too.

        Raises:
            ArgumentError: ``text`` is invalid; the message contains it.

        """
        return text

    def read(self, text: str) -> Any:
        """Return the value of ``text`` that was typed on another machine.

        As ``parse``, but nothing of this machine is looked at.

        Raises:
            ArgumentError: ``text`` is invalid; the message contains it.

        """
        return self.parse(text)

    def accept(self, value: Any) -> Any:
        """Check and convert a typed ``value``; text is parsed.

        Raises:
            ArgumentError: ``value`` is invalid.

        """
        if not isinstance(value, str):
            raise ArgumentValid(f"{value!r} is not text")
        return self.parse(value)

    @property
    def attributes(self) -> dict[str, str]:
        """The keys that a descriptor has for this instance beside the type's name."""
        return {}

    @property
    def hint(self) -> str:
        """The placeholder for a value in a usage line; empty if any text is valid."""
        return self.label

    def argdesc(self, attrs: Mapping[str, str]) -> str:
        """Return one argument of a descriptor: ``attrs``, this type's keys, the type's name."""
        everything = {**attrs, **self.attributes, "type": type(self).__name__}
        return ",".join(f"{key}={value}" for key, value in everything.items())


class _Number(CephArgtype):
    """A number, perhaps within bounds (``low`` or ``low|high``, both inclusive)."""

    kind: ClassVar[type[int | float]]

    def __init__(self, range: str = "") -> None:  # noqa: A002 - the descriptor's word
        self.range = [self.kind(bound) for bound in range.split("|")] if range else []
        self._text = range

    def accept(self, value: Any) -> Any:
        """Return ``value`` as a number of this type within the bounds; text is parsed."""
        if isinstance(value, str):
            return self.parse(value)
        if isinstance(value, bool) or not isinstance(value, (int, self.kind)):
            raise ArgumentValid(f"{value} doesn't represent {self._article}")
        return self._check_bounds(self.kind(value))

    @property
    def attributes(self) -> dict[str, str]:
        """The bounds, if there are any."""
        return {"range": self._text} if self._text else {}

    @property
    def hint(self) -> str:
        """The type and the bounds."""
        if not self.range:
            return self.label
        return f"{self.label}[{self.range[0]}-{self.range[1] if len(self.range) > 1 else ''}]"

    @property
    def _article(self) -> str:
        return "an int" if self.kind is int else "a float"

    def _check_bounds(self, value: float) -> float:
        low, high = [*self.range, None, None][:2]
        if (low is not None and value < low) or (high is not None and value > high):
            raise ArgumentValid(f"{value} not in range {self.range}")
        return value


class CephInt(_Number):
    """A whole number as Python writes it: sign, ``0x``, ``0o``, ``0b``, ``_``; not ``010``."""

    label = "int"
    kind = int

    def parse(self, text: str, *, partial: bool = False) -> int:  # noqa: ARG002 - see the root
        """Return the number that ``text`` stands for."""
        try:
            value = int(text, 0) if len(text) <= NUMBER_CHARS_MAX else None
        except ValueError:
            value = None
        if value is None:
            raise ArgumentValid(f"{text} doesn't represent an int")
        return int(self._check_bounds(value))


class CephFloat(_Number):
    """A real number, ``nan`` and ``inf`` among them."""

    label = "float"
    kind = float

    def parse(self, text: str, *, partial: bool = False) -> float:  # noqa: ARG002 - see the root
        """Return the number that ``text`` stands for."""
        try:
            value = float(text)
        except ValueError:
            raise ArgumentValid(f"{text} doesn't represent a float") from None
        return self._check_bounds(value)


class CephString(CephArgtype):
    """Printable ASCII text, perhaps restricted to ``goodchars``, a character class.

    The valid characters are the printable ASCII characters that match. If none matches, nothing is
    checked; if ``goodchars`` is empty all match, so other alphabets are refused. Both are Ceph's
    behaviour; use ``CephObjectname`` for free text.
    """

    def __init__(self, goodchars: str = "") -> None:
        try:
            pattern = re.compile(goodchars)
        except re.error:
            raise ValueError(f'CephString(): "{goodchars}" is not a valid RE') from None
        self.goodchars = goodchars
        self._good = "".join(filter(pattern.match, string.printable)).encode()

    def parse(self, text: str, *, partial: bool = False) -> str:  # noqa: ARG002 - see the root
        """Return ``text`` if it is valid."""
        if not self._good:
            return text
        # Bytes, because that takes a hundredth of the time of a set of characters.
        bad = text.encode(errors="replace").translate(None, self._good)
        if bad:
            shown = "".join(sorted(set(bad[:BAD_CHARS_MAX].decode(errors="ignore"))))
            raise ArgumentFormat(f"invalid chars {shown} in {text}")
        return text

    @property
    def attributes(self) -> dict[str, str]:
        """The character class, if there is one."""
        return {"goodchars": self.goodchars} if self.goodchars else {}

    @property
    def hint(self) -> str:
        """The character class, if there is one."""
        return f"(goodchars {self.goodchars})" if self.goodchars else ""


class CephChoices(CephArgtype):
    """One of a list of words (``a|b|c``), or of the values of an enum."""

    def __init__(self, strings: str = "", tp: type[enum.Enum] | None = None) -> None:
        values = strings.split("|") if tp is None else [str(member.value) for member in tp]
        self.strings: Sequence[str] = tuple(values)

    def parse(self, text: str, *, partial: bool = False) -> str:
        """Return the chosen word; with ``partial``, the beginning of one is valid too."""
        if text in self.strings:
            return text
        if partial and any(choice.startswith(text) for choice in self.strings):
            return text
        raise ArgumentValid(f"{text} not in {'|'.join(self.strings)}")

    @property
    def attributes(self) -> dict[str, str]:
        """The words."""
        return {"strings": "|".join(self.strings)}

    @property
    def hint(self) -> str:
        """The words."""
        return "|".join(self.strings)


class CephBool(CephArgtype):
    """``true``, ``false``, ``1`` or ``0`` in any case. Not yes and no."""

    label = "bool"

    def parse(self, text: str, *, partial: bool = False) -> bool:  # noqa: ARG002 - see the root
        """Return the boolean."""
        lower = text.lower()
        if lower not in {"true", "false", "1", "0"}:
            raise ArgumentValid(f"{text} not one of 'true', 'false'")
        return lower in {"true", "1"}

    def accept(self, value: Any) -> bool:
        """Return the boolean; anything else is parsed as text."""
        return value if isinstance(value, bool) else self.parse(str(value))


class CephPoolname(CephArgtype):
    """Any text."""

    label = "poolname"


class CephObjectname(CephArgtype):
    """Any text, every alphabet."""

    label = "objectname"


class CephUUID(CephArgtype):
    """A UUID in any form that Python reads."""

    label = "uuid"

    def parse(self, text: str, *, partial: bool = False) -> str:  # noqa: ARG002 - see the root
        """Return ``text`` if it is valid."""
        try:
            uuid.UUID(text)
        except ValueError as error:
            raise ArgumentFormat(f"invalid UUID {text}: {error}") from None
        return text


class _Path(CephArgtype):
    """A path on the caller's machine. Only ``parse``, which runs there, looks at the file.

    A manager that did so would tell clients which of its own files exist, and create some.
    """

    def read(self, text: str) -> str:
        """Return ``text`` unchecked: the file is not on this machine."""
        return text

    def accept(self, value: Any) -> str:
        """Return the text unchecked: the file is not on this machine."""
        if not isinstance(value, str):
            raise ArgumentValid(f"{value!r} is not text")
        return value


class CephFilepath(_Path):
    """A file that can be read, written or created; the value is its absolute path."""

    label = "outfilename"

    def parse(self, text: str, *, partial: bool = False) -> str:  # noqa: ARG002 - see the root
        """Return the absolute path."""
        path = Path(text).absolute()
        exists = path.exists()
        if path.is_file() and os.access(path, os.R_OK):
            return str(path)
        try:
            with path.open("ab"):
                pass
        except OSError as error:
            raise ArgumentValid(f"can't open {text}: {error.strerror}") from None
        if not exists:
            path.unlink()
        return str(path)


class CephSocketpath(_Path):
    """An existing socket. A path that cannot be examined raises ``OSError``."""

    label = "path"

    def parse(self, text: str, *, partial: bool = False) -> str:  # noqa: ARG002 - see the root
        """Return ``text`` if it is valid."""
        Path(text).stat()
        if not Path(text).is_socket():
            raise ArgumentValid(f"socket path {text} is not a socket")
        return text


class CephPrefix(CephArgtype):
    """A literal word."""

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix

    def parse(self, text: str, *, partial: bool = False) -> str:
        """Return the word; with ``partial``, its beginning is valid too."""
        if text != self.prefix and not (partial and self.prefix.startswith(text)):
            raise ArgumentPrefix(f"no match for {text}")
        return text

    @property
    def hint(self) -> str:
        """The word."""
        return self.prefix


CONFIRMATIONS: Final = frozenset(
    {
        "--yes-i-really-mean-it",
        "--yes-i-really-really-mean-it",
        "--yes-i-really-really-mean-it-not-faking",
        "--force",
    }
)
"""Words that begin like keywords but may also be values."""

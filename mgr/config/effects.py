"""Where a module acts: the three answers, and the option by which operators give them."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Final

from mgr.config.option_types import refuse
from mgr.errors import InvalidArgumentError
from mgr.store.keys import NAME

MODULE_EFFECTS: Final = "mgr_module_effects"


class Effects(Enum):
    """Where a module changes anything."""

    EXTERNAL = "external"
    """Also outside: on hosts, over the network, in files."""
    STORE = "store"
    """Only through the module interface; etcd refuses what is late."""
    NONE = "none"
    """Nowhere: it reads, and serves what it has read."""


def parse_effects(text: str) -> dict[str, Effects]:
    """Return what ``text`` says of each module: ``telegraf=external prometheus=none``.

    Words are separated by blanks or commas.

    Raises:
        InvalidArgumentError: A word cannot be read, or a module is named twice.

    """
    found: dict[str, Effects] = {}
    for word in _words(text):
        name, effects = _read(word)
        if name in found:
            raise refuse(f"module '{name}' is named twice")
        found[name] = effects
    return found


def readable_effects(text: str) -> dict[str, Effects]:
    """Return what can be read of a text that was stored by force; never raises."""
    found: dict[str, Effects] = {}
    for word in _words(text):
        try:
            name, effects = _read(word)
        except InvalidArgumentError:
            continue
        # Said twice, it is what delays more.
        if found.get(name) is not Effects.EXTERNAL:
            found[name] = effects
    return found


def normalised_effects(text: str) -> str:
    """Return ``text`` as it is stored: by name, separated by one blank.

    Raises:
        InvalidArgumentError: See ``parse_effects``.

    """
    return " ".join(f"{name}={each.value}" for name, each in sorted(parse_effects(text).items()))


def _words(text: str) -> Iterator[str]:
    yield from text.replace(",", " ").split()


def _read(word: str) -> tuple[str, Effects]:
    name, equals, value = word.partition("=")
    known = {each.value: each for each in Effects}
    if not equals or not NAME.fullmatch(name) or value not in known:
        raise refuse(f"'{word}' is not MODULE=EFFECTS with one of {', '.join(sorted(known))}")
    return name, known[value]

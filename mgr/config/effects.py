"""Where a module has effects: the three values, and the option by which operators set them."""

from __future__ import annotations

from enum import Enum
from typing import Final

from mgr.config.module_words import parse_words, readable_words
from mgr.config.option_types import refuse
from mgr.store.keys import NAME

MODULE_EFFECTS: Final = "mgr_module_effects"


class Effects(Enum):
    """The places where a module changes something."""

    EXTERNAL = "external"
    """Also outside etcd: on hosts, over the network, in files."""
    STORE = "store"
    """Only through the module interface, whose late writes etcd refuses."""
    NONE = "none"
    """Nowhere: the module only reads data and serves it."""


def parse_effects(text: str) -> dict[str, Effects]:
    """Parse ``text``, such as ``telegraf=external prometheus=none``, by module.

    Words are separated by blanks or commas.

    Raises:
        InvalidArgumentError: A word is malformed, or a module is named twice.

    """
    return parse_words(text, _read)


def readable_effects(text: str) -> dict[str, Effects]:
    """Parse a text that may have been stored by force; malformed words are skipped."""
    found: dict[str, Effects] = {}
    for name, effects in readable_words(text, _read):
        # If a module is named twice, ``external`` wins: it delays the module's start, so it is
        # the safe choice.
        if found.get(name) is not Effects.EXTERNAL:
            found[name] = effects
    return found


def normalised_effects(text: str) -> str:
    """Return ``text`` in the form in which it is stored: sorted by module, separated by a blank.

    Raises:
        InvalidArgumentError: See ``parse_effects``.

    """
    return " ".join(f"{name}={each.value}" for name, each in sorted(parse_effects(text).items()))


def _read(word: str) -> tuple[str, Effects]:
    name, equals, value = word.partition("=")
    known = {each.value: each for each in Effects}
    if not equals or not NAME.fullmatch(name) or value not in known:
        raise refuse(f"'{word}' is not MODULE=EFFECTS with one of {', '.join(sorted(known))}")
    return name, known[value]

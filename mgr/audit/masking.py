"""Arguments of a command as the audit shows them: short text, secrets masked."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from mgr.config.secret import MASK, masked_arguments
from mgr.text import encodable

TEXT_MAX: Final = 256
"""Characters kept of one argument."""
ARGUMENTS_MAX: Final = 16
"""Arguments kept; a command that takes more is rare, and one record must stay small."""

_SECRET_NAME: Final = re.compile(
    r"passw(or)?d|passphrase|secret|credential|private|token|api_?key|access_?key", re.IGNORECASE
)
_ASSIGNED: Final = re.compile(r"[=:]")
_NOT_ARGUMENTS: Final = frozenset({"prefix", "format", "target"})
_WITH_TARGET: Final = "tell"
"""The command of which ``target`` is an argument: the daemon that the command is for."""


def shown_arguments(
    command: str, arguments: Mapping[str, Any], is_secret: Callable[[str], bool]
) -> dict[str, str]:
    """Return the arguments of ``command`` as text that UTF-8 can encode, secrets masked.

    ``is_secret`` returns whether the option of that name is marked as secret.
    """
    shown: dict[str, str] = {}
    for name, value in masked_arguments(command, arguments, is_secret).items():
        if name in _NOT_ARGUMENTS and (name, command) != ("target", _WITH_TARGET):
            continue
        if len(shown) == ARGUMENTS_MAX:
            shown["..."] = f"{len(arguments) - ARGUMENTS_MAX} more"
            break
        text = MASK if named_secret(name) else _text(value)
        shown[encodable(name[:TEXT_MAX])] = encodable(text)
    return shown


def named_secret(name: str) -> bool:
    """Whether something of this name is a secret by the look of its name."""
    return _SECRET_NAME.search(name[:TEXT_MAX]) is not None


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        # Free words, such as those for a daemon: ``set password=x`` and ``set password x``.
        words: list[str] = []
        secret = False
        for word in value[:TEXT_MAX]:
            text = str(word)[:TEXT_MAX]
            name, *rest = _ASSIGNED.split(text, maxsplit=1)
            words.append(MASK if secret else f"{name}={MASK}" if _hidden(name, rest) else text)
            secret = not rest and named_secret(text)
        return _cut(" ".join(words))
    return _cut(str(value))


def _hidden(name: str, rest: list[str]) -> bool:
    return bool(rest) and named_secret(name)


def _cut(text: str) -> str:
    return text if len(text) <= TEXT_MAX else f"{text[:TEXT_MAX]}... ({len(text)} characters)"

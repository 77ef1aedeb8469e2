"""Finds what a module declares more than once: of two commands or options one is never reached."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from mgr.module_api.command import MARK, CLICommandBase


def repeated_declarations(cls: type) -> list[str]:
    """Describe each command and option that ``cls`` declares more than once, in ascending order.

    A method of a subclass that replaces one of its base class is no repetition.
    """
    found = [f"command {prefix!r}: {places}" for prefix, places in _repeated_commands(cls)]
    return sorted(found) + [
        f"option {name!r}" for name in _repeated(_names(getattr(cls, "MODULE_OPTIONS", ())))
    ]


def _repeated_commands(cls: type) -> Iterator[tuple[str, str]]:
    declared: dict[str, list[str]] = {}
    for prefix, handler in _handlers(cls):
        declared.setdefault(prefix, []).append(_describe(handler))
    listed = [str(each.get("cmd", "")) for each in _dictionaries(getattr(cls, "COMMANDS", ()))]
    dumped = {command.dump_cmd()["cmd"] for command in _commands_of(cls)}
    for text in listed:
        # The host adds the decorated commands to the list: those are no second declaration.
        if text not in dumped:
            declared.setdefault(_prefix(text), []).append("COMMANDS")
    for prefix, places in declared.items():
        if len(places) > 1:
            yield prefix, ", ".join(places)


def _handlers(cls: type) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield the prefix and function of each command of the first class that has any of it."""
    seen: set[str] = set()
    for family in cls.__mro__:
        own = {
            # A second name of one method is no second declaration.
            (command.prefix, id(value)): (command.prefix, value)
            for value in vars(family).values()
            for command in getattr(value, MARK, ())
        }.values()
        yield from ((prefix, value) for prefix, value in own if prefix not in seen)
        seen |= {prefix for prefix, _ in own}


def _commands_of(cls: type) -> Iterator[CLICommandBase]:
    for family in cls.__mro__:
        for value in vars(family).values():
            yield from getattr(value, MARK, ())


def _repeated(names: Iterable[str]) -> list[str]:
    return sorted(name for name, count in Counter(names).items() if count > 1)


def _names(declarations: object) -> Iterator[str]:
    yield from (str(each["name"]) for each in _dictionaries(declarations) if "name" in each)


def _dictionaries(declarations: object) -> Iterator[Mapping[str, Any]]:
    if isinstance(declarations, list | tuple):
        yield from (each for each in declarations if isinstance(each, Mapping))


def _prefix(descriptor: str) -> str:
    words = descriptor.split()
    first = next((place for place, word in enumerate(words) if "=" in word), len(words))
    return " ".join(words[:first])


def _describe(handler: Callable[..., Any]) -> str:
    code = getattr(inspect.unwrap(handler), "__code__", None)
    name = getattr(handler, "__qualname__", repr(handler))
    return f"{name} ({code.co_filename}:{code.co_firstlineno})" if code else name

"""Matches words and values against a command's signature, by the rules of Ceph's client.

Words fill arguments from left to right. ``--name value``, ``--name=value`` and, for a boolean,
``--name`` may stand anywhere behind the prefix, with dashes for underscores. Programs may also give
typed values by name. An invalid word or value raises an ``ArgumentError`` that names it.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from mgr.argument.descriptor import Argument, Signature
from mgr.argument.types import (
    CONFIRMATIONS,
    ArgumentError,
    ArgumentMissing,
    ArgumentNumber,
    ArgumentPrefix,
    ArgumentValid,
    CephChoices,
    CephString,
)
from mgr.likeness import CHARS_MAX, SIMILAR_MIN, Typed, most_similar

CLOSEST_MAX: Final = 10
ENVELOPE: Final = frozenset(
    {"format", "target", "poll", "width", "session_id", "period", "print_header"}
)
"""Arguments that a client may send with any command, whether the command declares them or not."""

VALUES_MAX: Final = 4096
"""Limit of the values of one repeated argument."""
COMPARED_WORDS_MAX: Final = 8
"""Words of what was typed that are compared with commands."""

_KEYWORD: Final = re.compile(r"--([A-Za-z0-9_-]+)(?:=(.*))?", re.DOTALL)


def match(
    words: Sequence[str],
    arguments: Mapping[str, Any],
    signature: Signature,
    *,
    typed_here: bool = False,
) -> dict[str, Any]:
    """Return the request: ``prefix``, and a typed value for each argument that was given.

    Args:
        words: The prefix's words, then bare values and keyword forms.
        arguments: Further values by name, typed or as text.
        signature: What the command takes.
        typed_here: The words were typed on this machine. Only then are files looked at that an
            argument names.

    Raises:
        ArgumentPrefix: The words are not those of this command.
        ArgumentMissing: A required argument was not given.
        ArgumentError: Another word or value is invalid.

    """
    own = signature.words
    if tuple(words[: len(own)]) != own:
        raise ArgumentPrefix(f"no match for {' '.join(words)}")
    request: dict[str, Any] = {"prefix": signature.prefix}
    _take_named(arguments, signature, request)
    _WordParser(words[len(own) :], signature, request, typed_here=typed_here).take()
    for argument in signature.arguments:
        _check_count(argument, request)
    return request


def closest(words: Sequence[str], signatures: Iterable[Signature]) -> list[Signature]:
    """Return at most ``CLOSEST_MAX`` commands that are similar to unknown ``words``, best first.

    These are the commands that share most leading words, where the last word may be incomplete; if
    none shares any, those with a similar spelling. Only the beginning of ``words`` is compared, so
    that the time does not depend on what was typed.
    """
    every = list(signatures)
    words = [word[:CHARS_MAX] for word in words[:COMPARED_WORDS_MAX]]
    typed = Typed(" ".join(word for word in words if not word.startswith("--")))
    scores = {id(each): _score(words, each, partial=True) for each in every}
    best = max(scores.values(), default=0)
    if best > 0:
        every = [each for each in every if scores[id(each)] == best]
    ranked = sorted(
        ((typed.likeness(each.prefix), each) for each in every),
        key=lambda pair: (-pair[0], pair[1].prefix),
    )
    return [each for likeness, each in ranked if best > 0 or likeness >= SIMILAR_MIN][:CLOSEST_MAX]


class _WordParser:
    """Assigns the words of one command line to arguments of a request."""

    def __init__(
        self,
        words: Sequence[str],
        signature: Signature,
        request: dict[str, Any],
        *,
        typed_here: bool,
    ) -> None:
        self._typed_here = typed_here
        self._remaining = deque(words)
        self._signature = signature
        self._request = request
        self._by_words: set[str] = set()
        self._rejections: list[ArgumentError] = []

    def take(self) -> None:
        """Fill the arguments in order; raise if a word is left over."""
        for argument in self._signature.arguments:
            self._fill(argument)
        while self._remaining and self._take_keyword():
            pass
        if self._remaining:
            raise self._unexpected_word(self._remaining[0])

    def _fill(self, argument: Argument) -> None:
        seen = 0
        while argument.count == 0 or seen < argument.count:
            while self._remaining and self._take_keyword():
                pass
            if not self._remaining or (not seen and argument.name in self._request):
                return
            word = self._remaining[0]
            if not argument.positional or _is_stray_keyword(word, argument):
                raise self._unexpected_word(word)
            try:
                values = self._parse(argument, word, bare=True)
            except ArgumentError as error:
                if argument.required and not seen:
                    raise
                # The word does not fit this optional argument; it may fit the next one.
                self._rejections.append(error)
                return
            self._rejections.clear()
            self._remaining.popleft()
            self._store(argument, values)
            seen += 1

    def _take_keyword(self) -> bool:
        found = _KEYWORD.fullmatch(self._remaining[0])
        argument = found and self._signature.argument(found[1].replace("-", "_"))
        if not found or not argument:
            return False
        value = found[2]
        if value is None and argument.is_flag:
            value = "true"
        elif value is None:
            if len(self._remaining) == 1:
                raise ArgumentMissing(f"{self._remaining[0]} needs a value: {argument.usage()}")
            self._remaining.popleft()
            value = self._remaining[0]
        self._remaining.popleft()
        self._store(argument, self._parse(argument, value, bare=False))
        return True

    def _parse(self, argument: Argument, word: str, *, bare: bool) -> list[Any]:
        return _parse_word(argument, word, bare=bare, typed_here=self._typed_here)

    def _store(self, argument: Argument, values: list[Any]) -> None:
        _refuse_twice(argument, self._request, self._by_words)
        self._by_words.add(argument.name)
        if argument.is_list:
            self._request.setdefault(argument.name, []).extend(values)
        else:
            # The last keyword wins, as usual on command lines.
            self._request[argument.name] = values[-1]

    def _unexpected_word(self, word: str) -> ArgumentError:
        if self._rejections:
            # Report why each optional argument before it did not accept the word, in order.
            return type(self._rejections[0])("; ".join(map(str, self._rejections)))
        known = [f"--{each.name.replace('_', '-')}" for each in self._signature.arguments]
        near = most_similar(word.partition("=")[0], known) if word[:2] == "--" else None
        wanted = f"; did you mean {near}?" if near else f"; usage: {self._signature.usage()}"
        return ArgumentValid(f"Unexpected argument '{word}'{wanted}")


def _take_named(
    arguments: Mapping[str, Any], signature: Signature, request: dict[str, Any]
) -> None:
    for name, value in arguments.items():
        argument = signature.argument(name)
        if argument is not None:
            request[name] = _accept_value(argument, value)
        elif name in ENVELOPE:
            request[name] = value
        else:
            near = most_similar(name, [each.name for each in signature.arguments])
            wanted = f"did you mean {near}?" if near else f"usage: {signature.usage()}"
            raise ArgumentValid(f"Unexpected argument '{name}'; {wanted}")


def _accept_value(argument: Argument, value: Any) -> Any:
    try:
        if not argument.is_list:
            return argument.type.accept(value)
        values = value if isinstance(value, (list, tuple)) else [value]
        return [argument.type.accept(each) for each in values]
    except ArgumentError as error:
        raise _naming_argument(argument, error) from None


def _parse_word(
    argument: Argument, text: str, *, bare: bool, typed_here: bool = False
) -> list[Any]:
    """Return the values in one word; commas separate list items, except in bare free text."""
    whole = not argument.is_list or (bare and type(argument.type) is CephString)
    texts = [text] if whole else text.split(",", VALUES_MAX)
    if len(texts) > VALUES_MAX:
        raise ArgumentValid(f"more than {VALUES_MAX} values (argument {argument.name})")
    try:
        parse = argument.type.parse if typed_here else argument.type.read
        return [parse(each) for each in texts]
    except ArgumentError as error:
        raise _naming_argument(argument, error) from None


def _naming_argument(argument: Argument, error: ArgumentError) -> ArgumentError:
    # Appended, because scripts match on the beginning, which is Ceph's text.
    return type(error)(f"{error} (argument {argument.name})")


def _refuse_twice(argument: Argument, request: Mapping[str, Any], by_words: set[str]) -> None:
    if argument.name in request and argument.name not in by_words:
        raise ArgumentValid(f"{argument.name}: given by name and among the words")


def _check_count(argument: Argument, request: Mapping[str, Any]) -> None:
    given = argument.name in request
    if not given and not argument.required:
        return
    if not given:
        raise ArgumentMissing(f"missing required parameter {argument.usage()}")
    if not argument.is_list:
        return
    seen = len(request[argument.name])
    if argument.count and seen != argument.count:
        raise ArgumentNumber(f"saw {seen} of {argument.usage()}, expected {argument.count}")
    if not seen and argument.required:
        raise ArgumentNumber(f"saw 0 of {argument.usage()}, expected at least 1")


def _is_stray_keyword(word: str, argument: Argument) -> bool:
    # A mistyped option must not be taken for the value of an argument. But some of Ceph's
    # confirmations are values that begin like options.
    may_be_value = isinstance(argument.type, CephChoices) or word in CONFIRMATIONS
    return word.startswith("--") and not may_be_value


def _score(words: Sequence[str], signature: Signature, *, partial: bool) -> int:
    """Count the words and arguments of the signature that ``words`` fill, from the left."""
    score = place = 0
    for own in signature.words:
        if place == len(words):
            return score
        word = words[place]
        place += 1
        if word != own:
            return score + (partial and place == len(words) and bool(word) and own.startswith(word))
        score += 1
    for argument in signature.arguments:
        if place == len(words):
            break
        try:
            _parse_word(argument, words[place], bare=True)
        except ArgumentError:
            if argument.required:
                break
            continue
        score += 1
        place = min(place + (argument.count or len(words)), len(words))
    return score

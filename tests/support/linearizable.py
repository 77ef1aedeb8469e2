"""Is a history linearizable? Wing and Gong's search with Lowe's memory, key by key.

A history is linearizable if every operation can be given a moment between its call and its
answer so that all of them, in the order of these moments, are what one register would have
done. Keys do not touch each other, so each is searched alone (Herlihy and Wing's locality).

The search walks over sets of operations that have had their moment. Next may come whatever was
called before the first answer that is still outstanding; a pair of *set, value* that was seen
before leads nowhere new. An operation whose outcome nobody knows has no answer: it may have its
moment at any time after its call, or never.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

NEVER = float("inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One call on one key.

    Attributes:
        value: What was put, or what a get returned; None: there was nothing, so that a put of it
            is a removal.
        begun_s: When it was called, on the clock that all callers share.
        ended_s: When it was answered; ``NEVER`` if its outcome is unknown.

    """

    key: str
    action: Literal["put", "get"]
    value: str | None
    begun_s: float
    ended_s: float = NEVER


def violations(history: Iterable[Operation]) -> list[str]:
    """The keys whose operations no single register could have answered so."""
    keys: dict[str, list[Operation]] = defaultdict(list)
    for operation in history:
        # A get without an answer says nothing at all.
        if operation.action == "put" or operation.ended_s < NEVER:
            keys[operation.key].append(operation)
    return sorted(key for key, operations in keys.items() if not linearizable(operations))


def linearizable(operations: Sequence[Operation], initial: str | None = None) -> bool:
    """Whether a register that held ``initial`` could have done this."""
    ordered = sorted(_bounded(operations), key=lambda operation: operation.begun_s)
    answered = sum(1 << n for n, each in enumerate(ordered) if each.ended_s < NEVER)
    start = (0, initial)
    seen, waiting = {start}, [start]
    while waiting:
        done, value = waiting.pop()
        if done & answered == answered:
            return True
        for number in _next(ordered, done):
            operation = ordered[number]
            if operation.action == "get" and operation.value != value:
                continue
            reached = (done | 1 << number, operation.value)
            if reached not in seen:
                seen.add(reached)
                waiting.append(reached)
    return False


def _bounded(operations: Sequence[Operation]) -> Iterator[Operation]:
    """Say of unknown puts what their readers tell; each that stays open doubles the search.

    One that nobody read may as well never have been; one that was read, and that no other put
    resembles, was done before its first reader was answered. Of a removal nobody can say that: what
    is not there may as well not have been there before.
    """
    resembling = Counter(each.value for each in operations if each.action == "put")
    for operation in operations:
        if operation.action == "get" or operation.ended_s < NEVER:
            yield operation
            continue
        readers = [
            each.ended_s
            for each in operations
            if each.action == "get"
            and each.value == operation.value
            and each.ended_s >= operation.begun_s
        ]
        if readers and operation.value is not None and resembling[operation.value] == 1:
            yield replace(operation, ended_s=min(readers))
        elif readers:
            yield operation


def _next(ordered: Sequence[Operation], done: int) -> list[int]:
    """Those that may come next: called before the first outstanding answer."""
    found: list[int] = []
    first_answer_s = NEVER
    # Whatever came first and is done needs no look: the lowest bit that is not set.
    for number in range((~done & (done + 1)).bit_length() - 1, len(ordered)):
        operation = ordered[number]
        if operation.begun_s > first_answer_s:
            break
        if not done >> number & 1:
            found.append(number)
            first_answer_s = min(first_answer_s, operation.ended_s)
    return [number for number in found if ordered[number].begun_s <= first_answer_s]

"""The checker of histories: right about small ones, by comparison with trying everything."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.linearizable import NEVER, Operation, linearizable, violations

MANY = 400


def put(value, begun_s, ended_s=NEVER, key="k"):
    return Operation(key=key, action="put", value=value, begun_s=begun_s, ended_s=ended_s)


def get(value, begun_s, ended_s=NEVER, key="k"):
    return Operation(key=key, action="get", value=value, begun_s=begun_s, ended_s=ended_s)


GOOD = {
    "nothing happened": [],
    "one after another": [put("a", 0, 1), get("a", 2, 3), put("b", 4, 5), get("b", 6, 7)],
    "nothing is read before anything is put": [get(None, 0, 1), put("a", 2, 3)],
    "a get beside a put sees it": [put("a", 0, 10), get("a", 1, 2)],
    "a get beside a put does not see it": [put("a", 0, 10), get(None, 1, 2)],
    "puts beside each other, in either order": [put("a", 0, 9), put("b", 0, 9), get("a", 10, 11)],
    "an unknown put is seen late": [put("a", 0), get(None, 5, 6), get("a", 7, 8)],
    "an unknown put is never seen": [put("a", 0), put("b", 1, 2), get("b", 3, 4)],
    "a key is removed and made again": [
        put("a", 0, 1),
        put(None, 2, 3),
        get(None, 4, 5),
        put("b", 6, 7),
    ],
    "an unknown removal is seen": [put("a", 0, 1), put(None, 2), get("a", 3, 4), get(None, 5, 6)],
    "an unknown removal is never seen": [put("a", 0, 1), put(None, 2), get("a", 9, 10)],
    "nothing was there, and then an unknown removal": [
        get(None, 0, 1),
        put(None, 2),
        put("a", 3, 4),
        get("a", 5, 6),
        get(None, 7, 8),
    ],
}
BAD = {
    "a removed key comes back": [put("a", 0, 1), put(None, 2, 3), get("a", 4, 5)],
    "a removed key comes back after it was seen to be gone": [
        put("a", 0),
        put(None, 2, 3),
        get(None, 4, 5),
        get("a", 6, 7),
        get(None, 8, 9),
    ],
    "a removal that was answered is not seen": [
        put("a", 0, 1),
        put(None, 2, 3),
        get(None, 4, 5),
        put("b", 6, 7),
        get("a", 8, 9),
    ],
    "a put that was answered is not seen": [put("a", 0, 1), get(None, 2, 3)],
    "a value that nobody put": [put("a", 0, 1), get("b", 2, 3)],
    "a get sees what a later one does not": [put("a", 0, 9), get("a", 1, 2), get(None, 3, 4)],
    "an old value comes back": [
        put("a", 0, 1),
        put("b", 2, 3),
        get("b", 4, 5),
        get("a", 6, 7),
    ],
    "an unknown put is taken back": [put("a", 0), get("a", 1, 2), get(None, 3, 4)],
    "a put has its moment before its call": [get("a", 0, 1), put("a", 2, 3)],
    "two readers disagree about an order": [
        put("a", 0, 9),
        put("b", 0, 9),
        get("a", 10, 11),
        get("b", 12, 13),
        get("a", 14, 15),
    ],
}


@pytest.mark.parametrize("name", GOOD)
def test_what_one_register_can_do_is_linearizable(name):
    """Among them what looks strange and is allowed."""
    assert linearizable(GOOD[name])


@pytest.mark.parametrize("name", BAD)
def test_what_no_register_can_do_is_not(name):
    """Each has exactly one thing wrong."""
    assert not linearizable(BAD[name])


def by_trying_everything(operations):
    """Every order of every choice of the unknown ones, compared with a register."""
    known = [each for each in operations if each.ended_s < NEVER]
    unknown = [each for each in operations if each.ended_s == NEVER and each.action == "put"]
    for chosen in range(1 << len(unknown)):
        some = [each for n, each in enumerate(unknown) if chosen >> n & 1]
        if any(register_does(order) for order in permutations([*known, *some])):
            return True
    return False


def register_does(order):
    value = None
    latest_s = 0.0
    for operation in order:
        # Moments must not go back: each is as early as its call and the one before it allow.
        latest_s = max(latest_s, operation.begun_s)
        if latest_s > operation.ended_s:
            return False
        if operation.action == "get" and operation.value != value:
            return False
        value = operation.value
    return True


@st.composite
def histories(draw):
    operations = []
    for _ in range(draw(st.integers(0, 5))):
        begun_s = draw(st.integers(0, 6))
        ended_s = draw(st.one_of(st.just(NEVER), st.integers(begun_s, 8)))
        make = draw(st.sampled_from([put, get]))
        value = draw(st.sampled_from(["a", "b", None]))
        operations.append(make(value, begun_s, ended_s))
    return [each for each in operations if each.action == "put" or each.ended_s < NEVER]


@given(histories())
def test_it_agrees_with_trying_everything(operations):
    """On every small history there is."""
    assert linearizable(operations) == by_trying_everything(operations)


def test_each_key_is_judged_alone():
    """And named."""
    history = [put("a", 0, 1, key="x"), get("a", 2, 3, key="y"), get("a", 2, 3, key="x")]

    assert violations(history) == ["y"]


def test_a_get_without_an_answer_says_nothing():
    """Whatever it holds."""
    assert violations([get("never put", 0)]) == []


def test_a_long_history_is_judged_at_once():
    """As a soak leaves them: many operations, a few of them unknown."""
    history = []
    for number in range(MANY):
        history.append(put(str(number), 2 * number, 2 * number + (1.5 if number % 40 else NEVER)))
        if number % 40:
            history.append(get(str(number), 2 * number + 1.6, 2 * number + 1.9))

    assert linearizable(history)
    assert not linearizable([*history, get("1", 3 * MANY, 3 * MANY + 1)])

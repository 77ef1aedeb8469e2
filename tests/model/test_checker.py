"""The search itself, on toys whose number of states and shortest ways are known."""

from __future__ import annotations

import pytest

from tests.model.checker import distances, explore, narrate, way


class Jugs:
    """Two jugs of 3 and 5 litres: 16 states can be reached; 4 litres need six steps."""

    name = "jugs"
    violations = ("", "there are 4 litres in the large jug")

    def __init__(self, forbidden=4):
        self._forbidden = forbidden

    def initial(self):
        return [bytes((0, 0, 0))]

    def canonical(self, state):
        return state

    def successors(self, state):
        _, small, large = state
        to_large, to_small = min(small, 5 - large), min(large, 3 - small)
        following = (
            (3, large),
            (small, 5),
            (0, large),
            (small, 0),
            (small - to_large, large + to_large),
            (small + to_small, large - to_small),
        )
        return [
            ((action, 0), bytes((int(second == self._forbidden), first, second)))
            for action, (first, second) in enumerate(following)
        ]

    def describe(self, label, before, after):
        return f"{tuple(before[1:])} to {tuple(after[1:])}"


class Walkers:
    """Three walkers on five places, who differ by name only: 125 states, 35 after symmetry."""

    name = "walkers"
    violations = ("", "everybody is at the end")

    def __init__(self, *, symmetric, forbidden=True):
        self._symmetric = symmetric
        self._forbidden = forbidden

    def initial(self):
        return [bytes(4)]

    def canonical(self, state):
        return state[:1] + bytes(sorted(state[1:])) if self._symmetric else state

    def successors(self, state):
        found = []
        for who in (1, 2, 3):
            if state[who] < 4:
                after = bytearray(state)
                after[who] += 1
                after[0] = int(self._forbidden and after[1:] == b"\4\4\4")
                found.append(((0, who), bytes(after)))
        return found

    def describe(self, label, before, after):
        return f"walker {label[1]} is at {after[label[1]]}"


def test_every_state_is_visited_once():
    result = explore(Jugs(forbidden=99))

    assert (result.states, result.complete, result.found) == (16, True, None)
    assert result.transitions == 16 * 6


def test_the_shortest_way_to_a_violation_is_reported():
    """The classic riddle: six pourings, and there is one shortest way."""
    result = explore(Jugs())

    assert result.found.steps == (
        "(0, 0) to (0, 5)",
        "(0, 5) to (3, 2)",
        "(3, 2) to (0, 2)",
        "(0, 2) to (2, 0)",
        "(2, 0) to (2, 5)",
        "(2, 5) to (3, 4)",
    )
    assert result.depth == 6
    assert result.found.story().endswith("=> there are 4 litres in the large jug")


@pytest.mark.parametrize(("symmetric", "states"), [(False, 125), (True, 35)])
def test_symmetry_leaves_one_state_for_all_that_differ_by_names(symmetric, states):
    assert explore(Walkers(symmetric=symmetric, forbidden=False)).states == states


def test_a_story_keeps_the_names_although_states_are_renamed():
    steps = explore(Walkers(symmetric=True)).found.steps

    assert len(steps) == 12
    for who in (1, 2, 3):
        walked = [step for step in steps if step.startswith(f"walker {who}")]
        assert walked == [f"walker {who} is at {place}" for place in (1, 2, 3, 4)]


def test_a_search_that_was_cut_short_says_so():
    result = explore(Jugs(forbidden=99), limit=5)

    assert not result.complete
    assert "not exhaustive" in result.row()


def test_two_searches_see_the_same():
    first, second = (explore(Jugs(forbidden=99), keep=True) for _ in range(2))

    assert list(first.parents.items()) == list(second.parents.items())


def test_a_way_leads_from_the_first_state():
    parents = explore(Jugs(forbidden=99), keep=True).parents
    states = way(parents, bytes((0, 3, 4)))

    assert states[0] == bytes((0, 0, 0))
    assert narrate(Jugs(forbidden=99), states)[-1] == "(2, 5) to (3, 4)"


def test_a_fair_schedule_reaches_the_goal_or_its_circle_is_shown():
    """Down to zero by ones: nine rounds. A schedule that may go from 5 to 7 need not get there."""
    states = [bytes((number,)) for number in range(10)]

    def down(state):
        return (bytes((max(0, state[0] - 1),)),)

    def round_five(state):
        return (bytes((7,)), *down(state)) if state[0] == 5 else down(state)

    assert distances(states, down, lambda state: not state[0]) == (9, None)
    _, circle = distances(states, round_five, lambda state: not state[0])
    assert [each[0] for each in circle] == [5, 7, 6, 5]

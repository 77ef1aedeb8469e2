"""Every scope is explored to its end; every protection taken out is found, by the shortest way."""

from __future__ import annotations

import logging

import pytest

from mgr.election.machine import Event, Phase, step
from tests.model import election_words, liveness
from tests.model.derived import ACTIONS, EVENTS, NEVER, PHASES, WINDOW, Spans, machine_table
from tests.model.election import Election
from tests.model.scopes import EXACT, LIMITS, QUICK, REMOVALS, run
from tests.support.tree import ROOT

pytestmark = pytest.mark.timeout(600)
STATES_MIN = 1_000_000
"""What all quick scopes have together, at least; see ``test_the_scopes_are_large_enough``."""
COUNTED = {
    "two managers": 628_307,
    "one term, its worker fails": 194_504,
    "one term, its key is lost": 121_250,
    "one term, an ineligible store": 63_432,
    "writes": 153_221,
    "journal": 60_133,
    "restore": 327_264,
    "restore, foreign": 241_535,
    "copies": 49_099,
    "streams": 19,
    "liveness": 218_511,
}
MISSED_AFTER = {
    "deadline from sending": 16,
    "window of the leader": 10,
    "kill timer": 26,
    "kill before release": 8,
    "helpers end too": 9,
    "abandoned threads count": 9,
    "second gate": 13,
    "hand-me-down": 13,
    "unreadable is a full wait": 14,
    "barrier": 9,
    "barrier before the next": 8,
    "started first": 9,
    "lookup before admission": 9,
    "eviction leaves a mark": 10,
    "old requests are refused": 10,
    "unclear is sticky": 7,
    "revisions only grow": 4,
    "terms only grow": 6,
    "terms never repeat": 5,
    "cluster id": 1,
    "heartbeat compares the last": 12,
    "token per attempt": 15,
    "streams end at the gate": 6,
}
"""Steps of the shortest counterexample, as ``docs/explanation/model-checking.md`` shows them."""


@pytest.fixture(autouse=True)
def quiet():
    """A store's identity is asked thousands of times whether an answer counts: it logs nothing."""
    logger = logging.getLogger("mgr.store.identity")
    before, logger.disabled = logger.disabled, True
    yield
    logger.disabled = before


@pytest.mark.parametrize("name", QUICK)
def test_no_invariant_is_violated_in_any_state(name):
    checked = run(QUICK[name])

    assert checked.result.found is None, checked.result.found.story()
    assert checked.result.complete
    # Known, so that a scope that shrinks is noticed; a change of the model changes the number.
    assert checked.result.states == COUNTED[name]


@pytest.mark.parametrize("name", COUNTED)
def test_the_page_has_the_number_of_states(name):
    page = (ROOT / "docs" / "explanation" / "model-checking.md").read_text()
    shown = f"{COUNTED[name]:,}".replace(",", " ")

    assert any(line.endswith(f"| {shown} |") for line in page.splitlines())


def test_the_scopes_are_large_enough():
    assert set(COUNTED) == set(QUICK)
    assert sum(COUNTED.values()) >= STATES_MIN


@pytest.mark.parametrize("removal", REMOVALS, ids=lambda removal: removal.protection)
def test_a_protection_that_is_taken_out_is_missed(removal):
    """So each is needed, and the model can see that it is not there."""
    found = run(removal.make).result.found

    if removal.protection in liveness.NOT_NEEDED:
        assert found is None
        return
    assert found is not None
    # A way that begins with an initial state and ends with what is wrong; for liveness, a circle.
    assert len(found.steps) == MISSED_AFTER.get(removal.protection, len(found.steps))


@pytest.mark.parametrize("limit", LIMITS)
def test_what_is_not_promised_is_shown(limit):
    """If one of these is not found any more, the documentation promises too little."""
    assert run(LIMITS[limit]).result.found is not None


def test_an_unknown_protection_is_an_error():
    with pytest.raises(ValueError, match="no such protection"):
        Election(EXACT, "hope")


def test_the_table_is_that_of_the_real_machine():
    table = machine_table()

    for phase in Phase:
        for event in Event:
            after, action = table[PHASES.index(phase)][EVENTS.index(event)]
            if after != NEVER:
                following = step(phase, event)
                assert PHASES[after] is following.phase
                assert (None if action == NEVER else ACTIONS[action]) is following.action
    assert table[PHASES.index(Phase.STANDBY)][EVENTS.index(Event.DRAINED)] == (NEVER, NEVER)


@pytest.mark.parametrize("share", [0.01, 0.2])
def test_the_real_spans_keep_the_old_deadline_before_the_deposition(share):
    """The inequality that matters, on the slowest and the fastest clock that are allowed."""
    spans = Spans(share)
    acts_last, deposed_first = spans.proof[0] - 1, spans.over.index(True)

    assert acts_last / (1 - share) < WINDOW < deposed_first / (1 + share)
    assert list(spans.proof) == sorted(spans.proof, reverse=True)


def test_every_step_of_the_election_has_its_sentence():
    assert len(election_words.TEXTS) == len(set(election_words.TEXTS.values()))

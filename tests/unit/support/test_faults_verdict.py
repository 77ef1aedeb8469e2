"""What watches a laboratory sees what must never happen, and nothing where nothing did."""

from __future__ import annotations

import pytest

from tests.support.faults.etcd_recorder import Entry
from tests.support.faults.followers import Seen
from tests.support.faults.sink import Ticks


def arrived(*effects, resumed_s=None):
    """Ticks that arrived so, one a second: pairs of a term and an actor."""
    ticks = Ticks(resumed_s=resumed_s or {})
    for now_s, (term, who) in enumerate(effects):
        ticks.take(float(now_s), term, who)
    ticks.resumed_s.clear()  # another process may have the id by now
    return ticks.violations()


def test_terms_that_act_one_after_another_are_right():
    """Several actors of a term, and terms in between that never acted."""
    assert arrived((5, "a"), (5, "b"), (5, "a"), (9, "c"), (11, "d"), (11, "d")) == []


def test_an_effect_after_a_later_terms_first_is_found():
    """Of a thread or of a helper; each is named once, with how long it went on."""
    found = arrived((5, "a"), (5, "h"), (9, "b"), (5, "a"), (9, "b"), (5, "h"), (5, "a"))

    assert found == [
        "a of term 5 acted 2 times after term 9 had: 1.000 s to 4.000 s after its first effect",
        "h of term 5 acted 1 times after term 9 had: 3.000 s to 3.000 s after its first effect",
    ]


@pytest.mark.parametrize(
    ("who", "resumed_s", "found"),
    [
        ("helper/double/7", 3.9, 0),  # until its guard has run
        ("helper/double/7", 3.0, 1),  # for too long
        ("helper/double/7", 4.1, 1),  # before its host went on
        ("helper/double/8", 3.9, 1),  # of another host
        ("serve/7", 3.9, 1),  # of the worker: a kernel timer ends that one
    ],
)
def test_only_helpers_act_for_a_moment_after_a_pause_of_their_host(who, resumed_s, found):
    """As long as neither the reaper nor the guard has run."""
    effects = ((1, who), (1, who), (2, "serve/9"), (2, "serve/9"), (1, who))

    assert len(arrived(*effects, resumed_s={7: resumed_s})) == found


def test_a_value_of_the_ledger_that_comes_back_is_found():
    """After it was replaced or removed; to be written twice in a row harms nothing."""
    entry = Entry()

    assert [entry.becomes(value) for value in ["a", "a", "b", None, "c"]] == [True] * 5
    assert not entry.becomes("a")
    assert not entry.becomes("b")
    assert entry.becomes("d")


def test_a_read_of_what_was_replaced_before_it_began_is_found():
    """Whoever leads must know what an earlier term acknowledged."""
    seen = Seen()
    seen.was_read(4, acknowledged=4)
    seen.was_read(6, acknowledged=4)
    assert seen.violations == []

    seen.was_read(5, acknowledged=6)

    assert seen.violations == ["a read of a map gave 5 after 6 was acknowledged"]


def test_a_watcher_that_is_shown_an_older_version_is_found():
    """It may miss versions, and never goes back."""
    seen = Seen()
    for number in (1, 4, 4, 9):
        seen.was_shown(number)
    assert seen.violations == []

    seen.was_shown(8)

    assert seen.violations == ["a watcher of a map was shown 8 after 9"]

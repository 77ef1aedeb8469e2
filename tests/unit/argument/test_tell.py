"""``tell``: whom it is for and what it asks."""

import pytest

from mgr.argument.tell import daemon_command_arguments, resolve_target
from mgr.errors import InvalidArgumentError


@pytest.mark.parametrize(
    ("words", "name", "asked"),
    [
        ("mgr stat", "a", "mgr stat"),
        ("tell mgr mgr stat", "a", "mgr stat"),
        ("tell mgr.* mgr stat", "a", "mgr stat"),
        ("tell mgr.b mgr stat", "b", "mgr stat"),
        ("tell mgr config show", "a", "config show mgr.a"),
        ("tell mgr.b config get k", "b", "config get mgr.b k"),
        ("tell mgr config get mgr.c k", "a", "config get mgr.c k"),
        ("tell mgr config show mgr.c", "a", "config show mgr.c"),
    ],
)
def test_it_says_whom_and_what(words, name, asked):
    """Without a name the active; a form without a section concerns the addressed manager."""
    assert resolve_target(words.split(), "a") == (name, tuple(asked.split()))


@pytest.mark.parametrize("words", ["tell", "tell mgr", "tell rgw.a", "tell mgrx status"])
def test_what_is_reported_to_nobody_is_refused(words):
    """Or what says nothing."""
    with pytest.raises(InvalidArgumentError, match="write"):
        resolve_target(words.split(), "a")


def test_what_a_daemon_is_reported_passes_through():
    """Options among the words and typed arguments are the daemon's, not those of tell."""
    words = ("tell", "rgw.eu.1", "cache", "drop", "--force")

    assert daemon_command_arguments(words, {}) == {
        "target": "rgw.eu.1",
        "args": ["cache", "drop", "--force"],
    }
    assert daemon_command_arguments(words, {"n": 1})["typed"] == '{"n": 1}'


@pytest.mark.parametrize("words", ["mgr stat", "tell mgr.a mgr stat", "tell rgw.a", "tell rgw x"])
def test_no_daemon_is_reported(words):
    """A manager is, or nobody."""
    assert daemon_command_arguments(words.split(), {}) is None

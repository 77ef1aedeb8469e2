"""``tell``: whom it is for and what it asks."""

import pytest

from mgr.argument.tell import meant
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
    """Without a name the active; what names nobody is about whoever is told."""
    assert meant(words.split(), "a") == (name, tuple(asked.split()))


@pytest.mark.parametrize("words", ["tell", "tell mgr", "tell osd.1 status", "tell mgrx status"])
def test_what_is_told_to_nobody_is_refused(words):
    """Daemons take no commands here."""
    with pytest.raises(InvalidArgumentError, match="write"):
        meant(words.split(), "a")

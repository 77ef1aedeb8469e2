"""Text of foreign code can be sent, whatever it holds."""

from __future__ import annotations

from mgr.text import encodable, traceback_of


class UnprintableError(Exception):
    def __str__(self):
        raise ValueError("no text")

    __repr__ = __str__


def test_half_a_character_is_escaped():
    """A lone surrogate cannot be UTF-8; anything else stays as it is."""
    assert encodable("a\ud800ä") == "a\\ud800ä"


def test_the_traceback_of_any_exception_is_text():
    """Also where the exception's own code fails."""
    assert "KeyError: 'x'" in traceback_of(KeyError("x"))
    assert "UnprintableError" in traceback_of(UnprintableError())

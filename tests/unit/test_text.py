"""Text of foreign code can be sent, whatever it holds."""

from __future__ import annotations

import pytest

from mgr.text import encodable, for_terminal, one_line, printable, shortened, traceback_of


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


def test_no_text_commands_a_terminal_or_forges_a_line():
    """Escape sequences, line ends and characters that turn the direction of text are shown."""
    hostile = "ok\x1b]0;pwned\x07\r\n2026 mgr.a [INF] forged\u202e\u2028\x9b\ud800 \U000e0041"

    line = one_line(hostile)

    assert line.isprintable()
    assert line.startswith(r"ok\x1b]0;pwned\x07\r\n2026 mgr.a [INF] forged\u202e\u2028\x9b\ud800")


@pytest.mark.parametrize(
    "hidden", "\u00ad\u034f\u115f\u1160\u17b4\u180e\u200b\u3164\ufeff\uffa0\U000e0041\U000e0100"
)
def test_what_cannot_be_seen_is_shown(hidden):
    """Two names that look alike are told apart, and no text hides behind another."""
    shown = f"ops{hidden.encode('unicode_escape').decode()}"

    assert one_line(f"ops{hidden}") == for_terminal(f"ops{hidden}") == shown


def test_plain_text_is_not_changed():
    """Other scripts, their joiners, emoji; and line ends and tabs where lines are expected."""
    text = "Ünïcode नमस्ते \u200d 👩\u200d💻"

    assert one_line(text) == text
    assert printable(f"{text}\n\t{text}\n") == f"{text}\n\t{text}\n"
    assert printable("a\rb\x1b[2J\n") == "a\\rb\\x1b[2J\n"


def test_a_long_text_is_shortened_for_an_error():
    """The whole of it may be a mebibyte."""
    assert shortened("short", 10) == "short"
    assert len(shortened("\x1b" * 10**6, 20)) <= 4 * 20 + 1

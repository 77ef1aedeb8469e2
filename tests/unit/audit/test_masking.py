"""What the audit shows of arguments."""

from __future__ import annotations

import pytest

from mgr.audit.masking import TEXT_MAX, shown_arguments
from mgr.config.secret import MASK, is_secret_name


def shown(command, secret_options=(), **arguments):
    return shown_arguments(
        command, arguments, lambda name: name in secret_options or is_secret_name(name)
    )


@pytest.mark.parametrize(
    ("command", "arguments", "name"),
    [
        ("config set", {"who": "mgr", "name": "mgr/web/pin", "value": "1234"}, "value"),
        ("config set", {"who": "mgr", "name": "mgr/web/api_key", "value": "x"}, "value"),
        ("config set", {"who": "mgr", "name": "mgr/x/smtp password", "value": "x"}, "value"),
        ("config-key set", {"key": "mgr/web/anything", "val": "x"}, "val"),
        ("web user add", {"user": "eve", "password": "x"}, "password"),
        ("web login", {"access_token": "x"}, "access_token"),
    ],
)
def test_a_secret_is_masked_and_the_rest_is_not(command, arguments, name):
    """By the mark of its option, by the command, or by the look of its name."""
    found = shown(command, {"mgr/web/pin"}, **arguments)

    assert found.pop(name) == MASK
    assert found == {each: text for each, text in arguments.items() if each != name}


def test_an_ordinary_option_is_shown():
    """The audit would tell nothing otherwise."""
    found = shown("config set", who="mgr", name="mgr_tick_period", value="3")

    assert found == {"who": "mgr", "name": "mgr_tick_period", "value": "3"}


def test_free_words_are_masked_after_a_name_that_looks_secret():
    """Words for a daemon have no names."""
    found = shown("tell", args=["set", "password=x", "token", "y", "size", "3"])

    assert found == {"args": f"set password={MASK} token {MASK} size 3"}


def test_a_command_for_a_daemon_names_the_daemon():
    """Of other commands ``target`` is part of their form."""
    assert shown("tell", target="host.h1", args=["x"]) == {"target": "host.h1", "args": "x"}
    assert shown("status", target="mgr") == {}


def test_long_arguments_are_cut_and_many_are_counted():
    """One record stays small whatever a client sends."""
    found = shown("x", **{f"a{n}": "b" * 10_000 for n in range(100)})

    assert len(found) == 17
    assert len(found["a0"]) < TEXT_MAX + 40


def test_what_utf8_cannot_encode_is_escaped():
    """A record is written whatever a client sends, with or without an active."""
    found = shown("device ls", host="a\ud800", **{"\udcff": "b"})

    assert "".join([*found, *found.values()]).encode()

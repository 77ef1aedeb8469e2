"""``mgr_module_effects``: what operators say of where modules act."""

import pytest

from mgr.config.effects import Effects, parse_effects, readable_effects
from mgr.errors import InvalidArgumentError
from tests.support.builtin_commands import builtin_commands


def test_each_module_has_its_word():
    """Separated by blanks or commas; nothing said is nothing known."""
    assert parse_effects("telegraf=external, prometheus=none  a.b=store") == {
        "telegraf": Effects.EXTERNAL,
        "prometheus": Effects.NONE,
        "a.b": Effects.STORE,
    }
    assert parse_effects("  ") == {}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("telegraf", "'telegraf' is not MODULE=EFFECTS with one of external, none, store"),
        ("telegraf=Store", "'telegraf=Store' is not MODULE=EFFECTS"),
        ("=store", "'=store' is not MODULE=EFFECTS"),
        ("a/b=store", "'a/b=store' is not MODULE=EFFECTS"),
        ("a=store a=store", "module 'a' is named twice"),
    ],
)
def test_what_cannot_be_read_is_refused_and_named(text, why):
    """With the words there are."""
    with pytest.raises(InvalidArgumentError, match=why):
        parse_effects(text)


def test_of_a_text_that_was_forced_what_can_be_read_counts():
    """Said twice, the answer that is safe."""
    text = "a=none b a=external a=store c=none"
    assert readable_effects(text) == {"a": Effects.EXTERNAL, "c": Effects.NONE}


async def test_the_option_is_checked_and_stored_by_name():
    """As any option is: refused before it is stored, with its name."""
    async with builtin_commands() as at:
        refused = await at.run("config", "set", "mgr", "mgr_module_effects", "x=maybe")
        await at.run("config", "set", "mgr", "mgr_module_effects", "b=none,a=external")
        stored = at.stored(at.leading_term.keys.option("mgr", "mgr_module_effects"))

    assert refused.retval < 0
    assert "'x=maybe' is not MODULE=EFFECTS" in refused.stderr
    assert "(option mgr_module_effects)" in refused.stderr
    assert stored == "a=external b=none"

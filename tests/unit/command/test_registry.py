"""Words to command."""

from __future__ import annotations

import pytest

from mgr.argument.descriptor import Signature
from mgr.command.registry import BUILTIN, Command, Registry
from mgr.errors import InvalidArgumentError, UnknownCommandError


def command(signature, module=BUILTIN, **fields):
    return Command(Signature.parse(signature), "", "r", module=module, **fields)


def registry(*commands):
    made = Registry()
    for module in {each.module for each in commands}:
        made.put(module, [each for each in commands if each.module == module])
    return made


def test_the_longest_prefix_wins():
    """``log last`` is a command, not a text to be logged."""
    found = registry(command("log name=text,type=CephString"), command("log last"))

    assert found.find(["log", "last"])[0].prefix == "log last"
    assert found.find(["log", "hello"]) == (
        command("log name=text,type=CephString"),
        {"prefix": "log", "text": "hello"},
    )


def test_arguments_may_come_by_name_and_typed():
    """A program need not print and parse numbers."""
    found = registry(command("add name=by,type=CephInt"))

    assert found.find(["add"], {"by": 3})[1] == {"prefix": "add", "by": 3}


def test_surplus_words_are_refused_where_no_arguments_are_declared():
    """The short way for commands without arguments is not a way around the check."""
    found = registry(command("mgr stat"))

    with pytest.raises(InvalidArgumentError, match="surplus"):
        found.find(["mgr", "stat", "surplus"])
    with pytest.raises(InvalidArgumentError, match="by"):
        found.find(["mgr", "stat"], {"by": 1})


def test_wrong_words_name_the_closest_commands():
    """One line; what is hidden is not advertised."""
    found = registry(
        command("mgr module ls"),
        command("mgr module enable name=m,type=CephString"),
        command("mgr module list", hidden=True),
    )

    with pytest.raises(UnknownCommandError) as caught:
        found.find(["mgr", "modle", "ls"])
    assert "no command 'mgr modle ls'; closest: 'mgr module ls'" in str(caught.value)
    assert "list" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("words", [[], [""], ["x" * 1000]])
def test_any_words_have_an_answer(words):
    """Nothing typed, nothing alike."""
    with pytest.raises(UnknownCommandError, match="no command"):
        registry(command("mgr stat")).find(words)


def test_a_prefix_belongs_to_the_manager_then_to_the_first_module():
    """A module cannot take over ``config set``; it gets the prefixes that it lost."""
    found = Registry()
    assert found.put("b", [command("x", "b"), command("status", "b")]) == []
    assert found.put("a", [command("x", "a")]) == []
    found.put(BUILTIN, [command("status")])

    assert found.put("b", [command("x", "b"), command("status", "b")]) == ["status", "x"]
    assert found.find(["x"])[0].module == "a"
    assert found.find(["status"])[0].module == BUILTIN


def test_a_prefix_belongs_to_an_enabled_module_before_others():
    """A module that is not enabled cannot answer; the manager's own commands stay its own."""
    found = registry(
        command("x", "a"), command("x", "b"), command("status", "b"), command("status")
    )
    before = found.etag
    found.set_enabled(["b"])

    assert found.find(["x"])[0].module == "b"
    assert found.find(["status"])[0].module == BUILTIN
    assert found.etag != before
    assert found.put("a", [command("x", "a")]) == ["x"]
    found.set_enabled(["a", "b"])
    assert found.find(["x"])[0].module == "a"


def test_all_modules_are_replaced_at_once():
    """What is not named is gone; those that lost prefixes are told; the same again is free."""
    found, commands = Registry(), {"a": [command("x", "a")], "b": [command("x", "b")]}
    found.put("gone", [command("y", "gone")])

    assert found.replace(commands, enabled=["b"]) == {"a": ["x"]}
    assert [each.module for each in found.all()] == ["b"]
    index = found._index
    assert found.replace(commands, enabled=["b"]) == {"a": ["x"]}
    assert found._index is index
    assert found.replace(commands, enabled=["a"]) == {"b": ["x"]}


def test_a_dropped_module_uncovers_what_it_hid():
    """Nothing is registered for ever."""
    found = registry(command("x", "a"), command("x", "b"))
    found.drop("a")
    found.drop("unknown")

    assert found.find(["x"])[0].module == "b"


def test_a_later_declaration_replaces_an_earlier_one():
    """Within a module, as in Ceph."""
    found = registry(command("x", "a"), command("x name=n,type=CephInt", "a"))

    assert found.find(["x", "1"])[1]["n"] == 1


def test_the_tag_follows_the_commands():
    """Equal on every manager with the same commands, different after any change."""
    first, second = registry(command("x"), command("y")), registry(command("y"), command("x"))
    before = first.etag
    first.put("m", [command("z", "m")])

    assert before == second.etag
    assert first.etag != before
    assert [each.prefix for each in first.all()] == ["x", "y", "z"]

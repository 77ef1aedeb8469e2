"""The table of commands: what fits, what was nearly meant, what may come next."""

from __future__ import annotations

import os

import pytest

from mgr.cli import config
from mgr.cli.command_cache import CachedCommand, CommandTable, is_fresh, load, path, save
from mgr.cli.complete import candidates, suggestions
from mgr.errors import (
    InvalidArgumentError,
    InvalidSettingError,
    UnknownCommandError,
    UnreachableError,
)


def entry(signature, text="", *, hidden=False):
    return CachedCommand(signature, text, "r", poll=False, module="mgr", hidden=hidden)


TABLE = CommandTable(
    etag="e",
    commands=(
        entry("config set name=who,type=CephString name=value,type=CephString", "Set it"),
        entry("config get name=who,type=CephString"),
        entry("config secret", hidden=True),
        entry("health name=detail,type=CephChoices,strings=detail,req=false", "How it is"),
        entry("mgr fail name=to,type=CephString,req=false,positional=false"),
        entry("get_command_descriptions"),
        entry("rot name=x,type=CephFromTheFuture"),
    ),
)


def test_a_command_is_found_by_its_longest_prefix():
    """Words behind it are its arguments."""
    assert TABLE.find(["config", "set", "mgr", "x"], {}).help == "Set it"


def test_unknown_words_name_the_closest_commands():
    """As they are used, hidden ones left out."""
    with pytest.raises(UnknownCommandError) as raised:
        TABLE.find(["config", "sett"], {})

    assert "config set <who> <value>" in str(raised.value)
    assert "secret" not in str(raised.value)


def test_the_beginning_of_commands_lists_all_of_them():
    """However many: somebody wants to know what there is."""
    many = CommandTable(commands=tuple(entry(f"mgr do{number:02}") for number in range(20)))
    with pytest.raises(UnknownCommandError) as raised:
        many.find(["mgr"], {})

    first, *lines = str(raised.value).splitlines()
    assert first == "incomplete command 'mgr'; it begins these commands:"
    assert lines == [f"  mgr do{number:02}" for number in range(20)]


def test_arguments_that_do_not_fit_are_refused_before_anything_is_sent():
    """With the name of what is missing."""
    with pytest.raises(InvalidArgumentError, match="who"):
        TABLE.find(["config", "get"], {})


def test_a_command_in_a_newer_language_is_left_out():
    """An old client does not fail for the sake of a command it cannot read."""
    assert all(signature.prefix != "rot" for signature, _ in TABLE.visible())


@pytest.mark.parametrize(
    ("words", "incomplete", "next_words"),
    [
        ([], "", ["help", "tell", "completion", "config", "health", "mgr"]),
        ([], "co", ["completion", "config"]),
        (["help"], "", ["config", "health", "mgr"]),
        (["help", "config"], "", ["get", "set"]),
        (["tell"], "", ["mgr"]),
        (["tell", "mgr.a", "config"], "", ["get", "set"]),
        (["config"], "", ["get", "set"]),
        (["config"], "se", ["set"]),
        (["health"], "", ["detail"]),
        (["mgr", "fail"], "", []),
        (["mgr", "fail"], "-", ["--to"]),
        (["mgr", "fail", "--to", "b"], "", []),
        (["nothing"], "", []),
    ],
)
def test_what_may_come_next(words, incomplete, next_words):
    """Words of commands, then values and flags of the one that is complete."""
    assert [word for word, _ in suggestions(TABLE, words, incomplete)] == next_words


def test_a_kept_table_is_read_again(home):
    """By the next run, without asking anybody."""
    file = path("a:1", {"XDG_CACHE_HOME": str(home)})

    save(file, TABLE)

    assert load(file) == TABLE
    assert is_fresh(file)


def test_a_spoilt_table_is_no_table(home):
    """It is asked for again."""
    file = home / "t.json"
    file.write_text("{")

    assert load(file) == CommandTable()
    assert load(home / "none.json") == CommandTable()
    assert not is_fresh(home / "none.json")


def test_a_home_that_cannot_be_written_costs_nothing_but_comfort(home):
    """The command runs."""
    blocked = home / "file"
    blocked.write_text("")

    save(blocked / "mgr" / "t.json", TABLE)


def test_completion_asks_only_without_a_fresh_table(home):
    """A prompt waits for nobody."""
    asked = []

    def known():
        return "a:1", lambda: None

    def fetch(hosts, file, _tls):
        asked.append(hosts)
        save(file, TABLE)
        return TABLE

    first = candidates(["config"], "s", known, fetch)
    second = candidates(["config"], "s", known, fetch)
    file = path("a:1", os.environ)
    os.utime(file, (0, 0))
    candidates(["config"], "s", known, fetch)

    assert first == second == [("set", "Set it")]
    assert asked == ["a:1", "a:1"]


def test_completion_keeps_quiet_in_trouble():
    """An error in the middle of somebody's line helps nobody."""

    def fetch(*_):
        raise UnreachableError("no manager answered")

    assert candidates([], "", lambda: ("a:1", lambda: None), fetch) == []


def test_the_nearest_source_of_hosts_wins(home):
    """Flag, environment, file, default."""
    file = home / "mgr/config.toml"
    file.parent.mkdir(parents=True)
    file.write_text('hosts = ["f:1", "g:1"]\nformat = "json"\n')
    known = config.load_config({"XDG_CONFIG_HOME": str(home)})

    assert known.format == "json"
    assert config.hosts("x:1", {"MGR_HOSTS": "e:1"}, known) == "x:1"
    assert config.hosts(None, {"MGR_HOSTS": "e:1"}, known) == "e:1"
    assert config.hosts(None, {}, known) == "f:1,g:1"
    assert config.hosts(None, {}, config.FileConfig()) == "127.0.0.1:7400"


@pytest.mark.parametrize("text", ["hots = []", "hosts = [", "timeout_s = 'long'"])
def test_a_config_file_that_cannot_be_meant_is_refused(home, text):
    """By its name, not by a traceback."""
    file = home / "mgr/config.toml"
    file.parent.mkdir(parents=True)
    file.write_text(text)

    with pytest.raises(InvalidSettingError, match=str(file)):
        config.load_config({"XDG_CONFIG_HOME": str(home)})

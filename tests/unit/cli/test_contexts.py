"""Contexts: one cluster of several, chosen as a whole."""

from __future__ import annotations

import json
import os
import stat

import pytest

from mgr.cli import contexts
from mgr.cli.main import main
from mgr.errors import InvalidArgumentError, InvalidSettingError, NotFoundError

FILE = """\
# of the night shift
current = "prod"

[contexts.prod]
hosts = ["p1:7400", "p2:7400"]
tls_ca = "prod/ca.crt"

[contexts.test]
hosts = ["t:7400"]
format = "json"
"""


@pytest.fixture
def file(home):
    """A file with two contexts, where the environment has it."""
    found = contexts.path(os.environ)
    found.parent.mkdir(parents=True)
    found.write_text(FILE)
    return found


def hosts_of(named=None, hosts=None, **variables):
    """The managers that a call with these flags and variables asks."""
    config, environment = contexts.chosen(named, hosts, os.environ | variables)
    return environment.get("MGR_HOSTS") or config.hosts


def test_the_current_context_is_used_unless_managers_are_named(file):
    """The more explicit wins: flag, variable, file."""
    assert hosts_of() == ("p1:7400", "p2:7400")
    assert hosts_of("test") == ("t:7400",)
    assert hosts_of(MGR_CONTEXT="test") == ("t:7400",)
    assert hosts_of("prod", MGR_CONTEXT="test") == ("p1:7400", "p2:7400")
    assert hosts_of(hosts="x:1") == ()
    assert hosts_of(MGR_HOSTS="y:1") == "y:1"


def test_a_named_context_is_used_as_a_whole(file):
    """The token of one cluster is never shown to another."""
    elsewhere = {"MGR_HOSTS": "y:1", "MGR_TLS_CA": "y.crt", "MGR_TOKEN_FILE": "y.token"}

    config, environment = contexts.chosen("test", None, os.environ | elsewhere)

    assert config.hosts == ("t:7400",)
    assert not elsewhere.keys() & environment.keys()


def test_files_are_relative_to_the_file(file):
    """So that a folder can be copied."""
    config, _ = contexts.chosen("prod", None, os.environ)

    assert config.tls_ca == str(file.parent / "prod/ca.crt")


def test_a_change_keeps_what_people_wrote(file):
    """Comments and order; and the file becomes private."""
    file.chmod(0o644)

    contexts.use(os.environ, "test")
    contexts.add(os.environ, "new", {"hosts": ["n:1"], "tls_ca": ""}, use=False)

    text = file.read_text()
    assert "# of the night shift" in text
    assert contexts.load(os.environ).current == "test"
    assert list(contexts.load(os.environ).contexts) == ["prod", "test", "new"]
    assert "tls_ca" not in text.partition("[contexts.new]")[2]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_the_first_context_is_the_current_one(home):
    """Whoever adds one wants to use it."""
    assert contexts.add(os.environ, "a", {"hosts": ["a:1"]}, use=False)
    assert not contexts.add(os.environ, "b", {"hosts": ["b:1"]}, use=False)
    assert contexts.load(os.environ).current == "a"


def test_without_the_current_context_there_is_none(file):
    """The default managers are asked then."""
    contexts.remove(os.environ, "prod")

    assert contexts.load(os.environ).current == ""
    assert hosts_of() == ()


@pytest.mark.parametrize("name", ["", "a b", "../x", '"', "-"])
def test_a_name_is_a_name(home, name):
    """It becomes part of a file, and of a line in a shell."""
    with pytest.raises(InvalidArgumentError):
        contexts.add(os.environ, name, {"hosts": ["a:1"]}, use=False)


def test_an_unknown_context_is_named_with_those_that_are_known(file):
    """By the call that needs it, and by those that change the file."""
    with pytest.raises(InvalidSettingError, match="no context 'nix'"):
        contexts.chosen("nix", None, os.environ)
    with pytest.raises(NotFoundError, match="known: prod, test"):
        contexts.use(os.environ, "nix")


@pytest.mark.parametrize("text", ["current = 1", "[contexts.a]\nhost = 'x'", "[", "[[contexts]]"])
def test_a_file_that_cannot_be_used_is_named(home, text):
    """And no command overwrites it."""
    file = contexts.path(os.environ)
    file.parent.mkdir(parents=True)
    file.write_text(text)

    with pytest.raises(InvalidSettingError, match=str(file)):
        contexts.add(os.environ, "a", {"hosts": ["a:1"]}, use=True)
    assert file.read_text() == text


def test_the_commands_add_list_choose_and_remove(home, capsys):
    """As typed; nothing of it needs a manager."""
    assert main(["context", "add", "prod", "-m", "p:1"]) == 0
    assert main(["-m", "t:1,t:2", "context", "add", "test"]) == 0
    assert main(["context", "use", "test"]) == 0
    capsys.readouterr()

    assert main(["context", "ls", "-f", "json"]) == 0

    found = json.loads(capsys.readouterr().out)
    assert [(each["name"], each["hosts"], each["current"]) for each in found] == [
        ("prod", ["p:1"], False),
        ("test", ["t:1", "t:2"], True),
    ]
    assert main(["context", "rm", "test"]) == 0
    assert main(["context", "ls"]) == 0
    assert "test" not in capsys.readouterr().out


def test_an_answer_of_mgrctl_itself_has_every_format_that_it_takes(home, capsys):
    """As those of managers have; what it has no use for is refused, not ignored."""
    assert main(["context", "add", "prod", "-m", "p:1"]) == 0
    capsys.readouterr()

    assert main(["context", "ls", "-f", "yaml"]) == 0
    assert capsys.readouterr().out.startswith("- name: prod\n  current: true\n")
    assert main(["context", "ls", "-o", "jsonpath=$[0].hosts[0]"]) == 0
    assert capsys.readouterr().out == "p:1\n"
    assert main(["context", "ls", "-o", str(home / "file"), "-f", "json"]) == 0
    assert json.loads((home / "file").read_text())[0]["name"] == "prod"

    for words, flag in (
        (["context", "ls", "-f", "xml"], "context takes no -f xml"),
        (["context", "use", "prod", "-o", "file"], "context takes no -o"),
        (["support-bundle", "-o", "file"], "support-bundle takes no -o"),
        (["doctor", "--watch"], "doctor takes no --watch"),
        (["config", "edit", "-i", "file"], "config edit takes no -i"),
    ):
        assert main(words) == 22
        assert flag in capsys.readouterr().err


def test_addresses_that_are_none_are_refused_when_a_context_is_added(home, capsys):
    """Not at the next call."""
    assert main(["context", "add", "prod", "-m", "p:1,a:b"]) == 22
    assert "'a:b' is not host:port" in capsys.readouterr().err
    assert main(["context", "ls"]) == 0
    assert "prod" not in capsys.readouterr().out


def test_a_context_is_taken_from_the_file_that_mgrd_init_wrote(home, capsys):
    """With its certificates where they are; what cannot be used is refused."""
    written = home / "admin/mgr/config.toml"
    written.parent.mkdir(parents=True)
    written.write_text('hosts = ["p:1"]\ntls_ca = "ca.crt"\n')

    assert main(["context", "add", "prod", "--config", str(written)]) == 22
    assert "ca.crt" in capsys.readouterr().err

    written.write_text('hosts = ["p:1"]\n')
    assert main(["context", "add", "prod", "--config", str(written)]) == 0
    assert contexts.load(os.environ).contexts["prod"].hosts == ("p:1",)

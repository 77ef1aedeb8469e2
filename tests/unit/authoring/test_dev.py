"""``mgrctl module dev``: a module at a prompt, with what it stored kept over a reload."""

import io

import pytest

from mgr.authoring import dev
from mgr.authoring.scaffold import create_module
from mgr.authoring.source import ModuleSource


class Prompt:
    """A session; ``say`` types a line and returns what is written."""

    def __init__(self, source):
        self._out = io.StringIO()
        self.source = source
        self.session = dev.Session(source, out=self._out)

    def written(self):
        text = self._out.getvalue()
        self._out.seek(0)
        self._out.truncate()
        return text.strip()

    def say(self, line):
        assert self.session.run(line)
        return self.written()

    def save(self, old, new):
        file = self.source.folder / "module.py"
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))
        self.session.reload_if_changed()
        return self.written()


@pytest.fixture
def prompt(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    made = Prompt(ModuleSource.at(create_module("greet", tmp_path)))
    with made.session:
        assert made.written() == "module greet runs; type help"
        yield made


def test_commands_options_entries_and_health_are_at_the_prompt(prompt):
    """In the words of ``mgrctl``."""
    assert prompt.say("greet add Ann") == ""
    assert '"Ann"' in prompt.say("greet ls")
    assert prompt.say("health") == "HEALTH_OK"
    assert prompt.say("config set mgr mgr/greet/limit 0") == ""
    assert prompt.say("health").startswith("GREET_TOO_MANY (warning): 1 names, more than 0")
    assert "limit = 0" in prompt.say("config show")
    assert prompt.say("config rm limit") == ""
    assert prompt.say("config-key ls") == "name/Ann"
    assert prompt.say("config-key get name/Ann") == "1"
    assert prompt.say("config-key set name/Bob 1") == ""
    assert prompt.say("config-key rm name/Ann") == ""
    assert "Ann" not in prompt.say("greet ls")
    assert prompt.say("publish racks {}") == "version 1"
    assert "  greet add <name>" in prompt.say("help")


def test_mistakes_are_named_and_end_nothing(prompt):
    """Wrong words, values and quotes; ``quit`` ends it."""
    assert prompt.say("nonsense").startswith("Error 22: no command 'nonsense'")
    assert prompt.say("config set") == "Error: the number of words is wrong; see: help"
    assert prompt.say("config set limit many").startswith("Error 22: error parsing value: ")
    assert prompt.say("greet ls '") == "Error: No closing quotation"
    assert prompt.say("") == ""
    assert not prompt.session.run("quit")


def test_a_save_reloads_and_keeps_what_is_stored(prompt):
    """Options, too; twice within a second."""
    prompt.say("greet add Ann")
    prompt.say("config set limit 7")
    prompt.session.reload_if_changed()
    assert prompt.written() == "", "nothing was saved"

    text = prompt.save('"greet ls"', '"greet all"')
    again = prompt.save('"greet all"', '"greet any"')

    assert text == again == "files changed: reloading\nmodule greet runs; type help"
    assert '"Ann"' in prompt.say("greet any")
    assert "limit = 7" in prompt.say("config show")


def test_a_file_that_does_not_load_leaves_the_old_module_running(prompt):
    """The error has its line; the next save repairs it."""
    prompt.say("greet add Ann")

    text = prompt.save("class Module(MgrModule):", "class Module(MgrModule:")

    assert "Error: module 'greet'" in text
    assert "module.py:" in text
    assert '"Ann"' in prompt.say("greet ls")
    assert "runs" in prompt.save("class Module(MgrModule:", "class Module(MgrModule):")


def test_a_failover_keeps_what_is_stored_and_serves_again(prompt):
    """On another manager, in the next term."""
    prompt.say("greet add Ann")

    assert prompt.say("mgr fail") == "manager b is active in term 2"

    assert '"Ann"' in prompt.say("greet ls")
    prompt.session.host.wait_until(lambda: prompt.session.host.uri)
    assert prompt.say("mgr services").startswith("http://127.0.0.1:")


def test_an_exception_opens_the_debugger_if_that_is_wanted(tmp_path, monkeypatch):
    """Where it was raised; without ``--pdb`` the answer has the traceback."""
    source = ModuleSource.at(create_module("greet", tmp_path))
    file = source.folder / "module.py"
    file.write_text(file.read_text().replace("return self._names()", "raise KeyError('odd')", 1))
    opened = []
    monkeypatch.setattr(dev.pdb, "post_mortem", opened.append)

    for post_mortem in (False, True):
        out = io.StringIO()
        with dev.Session(source, out=out, post_mortem=post_mortem) as session:
            session.run("greet ls")
        assert "KeyError: 'odd'" in out.getvalue()
        assert len(opened) == post_mortem

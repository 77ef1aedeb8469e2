"""What a module declares twice is named: one of the two can never be reached."""

from typing import ClassVar

from mgr.module_api.repeated import repeated_declarations
from mgr_module import CLICommand, CLIReadCommand, MgrModule, Option


class Once(MgrModule):
    MODULE_OPTIONS: ClassVar = [Option("place")]
    COMMANDS: ClassVar = [{"cmd": "listed name=a,type=CephInt", "desc": "", "perm": "r"}]

    @CLIReadCommand("once")
    def once(self):
        """One."""

    alias = once


class Replaces(Once):
    @CLIReadCommand("once")
    def replaced(self):
        """The subclass's own."""


class Twice(MgrModule):
    MODULE_OPTIONS: ClassVar = [Option("place"), Option("other"), Option("place", type="int")]
    COMMANDS: ClassVar = [
        {"cmd": "listed name=a,type=CephInt", "desc": "", "perm": "r"},
        {"cmd": "listed", "desc": "", "perm": "r"},
        {"cmd": "both name=x,type=CephString", "desc": "", "perm": "r"},
    ]

    @CLICommand("twice")
    def first(self):
        """First."""

    @CLIReadCommand("twice")
    def second(self, by: int = 1):
        """Second."""

    @CLICommand("both")
    def both(self):
        """Also listed."""


def test_nothing_is_said_of_what_is_declared_once():
    """Nor of a second name, a subclass's own method, or what the host adds to the list."""
    assert repeated_declarations(Once) == []
    assert repeated_declarations(Replaces) == []
    Once._register_commands("once")
    assert repeated_declarations(Once) == []


def test_commands_and_options_that_are_declared_twice_are_named():
    """With the lines of both methods."""
    both, listed, twice, option = repeated_declarations(Twice)

    assert both.startswith("command 'both': Twice.both (")
    assert both.endswith(", COMMANDS")
    assert listed == "command 'listed': COMMANDS, COMMANDS"
    assert "Twice.first (" in twice
    assert "Twice.second (" in twice
    assert "test_repeated.py:" in twice
    assert option == "option 'place'"

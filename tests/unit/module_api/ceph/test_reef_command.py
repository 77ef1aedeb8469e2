"""Commands that plug-ins declare as entries and register later."""

import errno
import re
import sys
import types

import pytest

from mgr.module_api.ceph.reef_command import Command
from mgr.module_api.command import collect_commands
from mgr.module_api.module import MgrModule
from tests.support.context import Context, command

PLUGIN = """
from mgr_module import Command

class Plugin:
    def __init__(self, word):
        self.word = word

    def handler(self, name: str, loud: bool = False):
        return 0, f"{self.word} {name}{'!' if loud else ''}", ""

def plain(mgr, count: int = 1):
    return -count, mgr.module_name, ""

Command("plugged greet", handler=Plugin.handler, perm="r").register(instance=Plugin("Hello"))
Command("plugged plain", handler=plain, poll=True).register()
"""


@pytest.fixture
def module(monkeypatch):
    """A package with a module and a plug-in beside it."""
    package = types.ModuleType("plugged")
    package.__path__ = []
    plugin = types.ModuleType("plugged.plugin")
    monkeypatch.setitem(sys.modules, "plugged", package)
    monkeypatch.setitem(sys.modules, "plugged.plugin", plugin)
    exec(compile(PLUGIN, "plugin.py", "exec"), vars(plugin))
    cls = type("Module", (MgrModule,), {"__module__": "plugged"})
    cls._register_commands("plugged")
    return cls("plugged", Context("plugged", cls), 0)


def test_an_entry_is_the_dictionary_of_a_table():
    """As Reef and older releases made it."""
    assert Command("p", handler=print, perm="w") == {"perm": "w", "poll": False}
    assert Command("p", print).prefix == "p"


def test_a_registered_entry_is_a_command_of_the_package(module):
    """Its arguments are read off the handler."""
    greet, plain = collect_commands(type(module))

    assert (greet.perm, plain.perm, plain.poll) == ("r", "rw", True)
    assert re.findall(r"name=(\w+)", greet.signature_text) == ["name", "loud"]


def test_a_handler_is_called_on_its_own_instance_or_on_the_module(module):
    """And answers with names."""
    greeted = command(module, "plugged greet", name="Ann", loud=True)
    plain = command(module, "plugged plain", count=errno.EPERM)

    assert (greeted.retval, greeted.stdout) == (0, "Hello Ann!")
    assert (plain.retval, plain.stdout) == (-errno.EPERM, "plugged")

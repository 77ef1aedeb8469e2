"""The names that Ceph's modules import are the very classes of the module API."""

import inspect

import pytest

import mgr.module_api
import mgr_module
import mgr_util
import object_format
from mgr.module_api import command, display, module, responder

IMPORTABLE = ("mgr_module", "object_format", "mgr_util")


@pytest.mark.parametrize("file", [mgr_module, object_format, mgr_util], ids=IMPORTABLE)
def test_each_name_only_passes_on_what_has_its_home_elsewhere(file):
    """One class, one identity: a module's class is found by ``issubclass``."""
    for name in file.__all__:
        thing = getattr(file, name)
        if inspect.isclass(thing) or inspect.isfunction(thing):
            homes = ("mgr.module_api.", "mgr.argument.", "typing")
            assert thing.__module__.startswith(homes), name
    own = [name for name, thing in vars(file).items() if inspect.getmodule(thing) is file]
    assert own == []


def test_the_classes_are_the_same():
    """By whichever name they are imported."""
    assert mgr_module.MgrModule is module.MgrModule is mgr.module_api.MgrModule
    assert mgr_module.CLICommand is command.CLICommand
    assert object_format.Responder is responder.Responder
    assert mgr_util.format_bytes is display.format_bytes


@pytest.mark.parametrize("file", [mgr.module_api, mgr_module, object_format, mgr_util])
def test_every_exported_name_is_there_and_sorted_for_the_reader(file):
    """``from mgr_module import *`` gives exactly these."""
    assert len(set(file.__all__)) == len(file.__all__)
    assert all(hasattr(file, name) for name in file.__all__)

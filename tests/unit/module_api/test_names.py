"""The names that Ceph's modules import are the very classes of the module API."""

import inspect
import sys
import types

import pytest

import ceph_argparse
import cherrypy_mgr
import mgr.module_api
import mgr_module
import mgr_util
import object_format
from mgr.module_api import command, module, responder
from mgr.module_api.mgr_util import display

FILES = (mgr_module, object_format, mgr_util, ceph_argparse, cherrypy_mgr)
THEIRS = [
    "API",
    "CLICheckNonemptyFileInput",
    "CLICommand",
    "CLICommandBase",
    "CLIReadCommand",
    "CLIRequiresDB",
    "CLIWriteCommand",
    "CPlusPlusHandler",
    "CRUSHMap",
    "CephArgtype",
    "CephReleases",
    "ClusterLogHandler",
    "Command",
    "CommandResult",
    "ERROR_MSG_EMPTY_INPUT_FILE",
    "ERROR_MSG_NO_INPUT_FILE",
    "FileHandler",
    "HandleCommandResult",
    "HandlerFuncType",
    "HealthChecksT",
    "MAX_DBCLEANUP_RETRIES",
    "MgrDBNotAllowed",
    "MgrDBNotReady",
    "MgrModule",
    "MgrModuleLoggingMixin",
    "MgrModuleRecoverDB",
    "MgrRootHandler",
    "MgrStandbyModule",
    "MonCommandFailed",
    "NFS_GANESHA_SUPPORTED_FSALS",
    "NFS_POOL_NAME",
    "NotifyType",
    "OSDMap",
    "OSDMapIncremental",
    "Option",
    "OptionLevel",
    "OptionValue",
    "PG_STATES",
    "PerfCounterT",
    "ServerInfoT",
    "ServiceInfoT",
    "json",
    "profile_method",
]
"""What code for any of ceph-mgr's releases may import from ``mgr_module``."""


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.__name__)
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


@pytest.mark.parametrize("file", [mgr.module_api, *FILES])
def test_every_exported_name_is_there_and_sorted_for_the_reader(file):
    """``from mgr_module import *`` gives exactly these."""
    assert len(set(file.__all__)) == len(file.__all__)
    assert all(hasattr(file, name) for name in file.__all__)


def test_every_name_of_every_release_is_there():
    """So that an import at the top of a module never fails."""
    assert set(mgr_module.__all__) >= set(THEIRS)


@pytest.mark.parametrize("name", ["rados", "cephfs"])
def test_cephs_bindings_are_looked_for_when_they_are_asked_for(name, monkeypatch):
    """Where they are not, ``mgr_module`` is imported all the same, and the attribute says why."""
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(AttributeError, match="are not on this host"):
        getattr(mgr_module, name)

    bindings = types.ModuleType(name)
    monkeypatch.setitem(sys.modules, name, bindings)
    assert getattr(mgr_module, name) is bindings

    with pytest.raises(AttributeError, match="no attribute"):
        mgr_module.no_such_name  # noqa: B018 - it raises


def test_words_are_cephs():
    """Exporters make series of them."""
    assert len(mgr_module.PG_STATES) == len(set(mgr_module.PG_STATES)) == 34
    assert mgr_module.NFS_POOL_NAME == ".nfs"
    assert mgr_module.CephReleases.reef == 18


def test_methods_can_be_marked_as_public():
    """What is not marked is not, and needs no more than reading."""

    @mgr_module.API.perm("w")
    @mgr_module.API.expose
    def marked():
        pass

    def plain():
        pass

    assert (mgr_module.API.expose.get(marked), mgr_module.API.perm.get(marked)) == (True, "w")
    assert (mgr_module.API.expose.get(plain), mgr_module.API.perm.get(plain)) == (False, "r")


def test_what_ceph_mgr_publishes_of_a_module_can_be_published_here():
    """Each marked method makes a command; a subclass that overrides one publishes its own."""
    marked = {
        name: method
        for name, method in inspect.getmembers(mgr_module.MgrModule, inspect.isfunction)
        if mgr_module.API.expose.get(method)
    }

    made = {
        name: mgr_module.CLICommand(f"mgr cli {name}", mgr_module.API.perm.get(method))
        for name, method in marked.items()
    }
    for name, method in marked.items():
        made[name].store_func_metadata(method)

    assert made["get_store"].dump_cmd()["cmd"] == (
        "mgr cli get_store name=key,type=CephString name=default,req=false,type=CephString"
    )
    assert (made["get_store"].perm, made["set_store"].perm) == ("r", "w")
    assert len(marked) >= 46

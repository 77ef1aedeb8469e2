"""Names of module folders, and what is said of a module that does not load."""

import importlib.metadata
import re
import sys

import pytest

from mgr.host.finder import find_modules
from mgr.host.reload import reload_module
from tests.unit.host.test_finder import GOOD, ONE, found


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (
            "    @CLICommand('odd one')\n    def one(self, v): pass",
            "command 'odd one' .*'v' has no type",
        ),
        (
            "    rados = __import__('rbd').RBD().clone()",
            "Ceph's Python bindings 'rbd' are not on this host",
        ),
        ("    value = int('x')", "ValueError: invalid literal"),
    ],
)
async def test_an_error_raised_by_our_code_names_the_modules_own_line(folder, write, line, why):
    """The author did not write ours."""
    write(
        "finder_fault",
        f"from mgr_module import CLICommand, MgrModule\nclass Module(MgrModule):\n{line}",
    )

    module = await found(folder, "finder_fault")

    assert re.search(why, module.error), module.error
    assert f"({folder}/finder_fault/module.py:3)" in module.error
    assert "/mgr/" not in module.error.replace(str(folder), "")


@pytest.mark.parametrize(
    ("base", "method"),
    [("MgrModule", "serve"), ("MgrModule", "notify"), ("MgrStandbyModule", "serve")],
)
async def test_a_method_that_nothing_awaits_is_refused(folder, write, base, method):
    """It would return at once and do nothing."""
    text = "from mgr_module import *\nclass Module(MgrModule):\n    pass\n"
    text = text if base == "MgrModule" else f"{text}class Half({base}):\n    pass\n"
    write("finder_async", f"{text}    async def {method}(self, *_): pass")
    line = text.count("\n") + 1

    error = (await found(folder, "finder_async")).error

    assert f"{method} is a coroutine function" in error
    assert f"write `def {method}`, and asyncio.run() inside" in error
    assert error.endswith(f"({folder}/finder_async/module.py:{line})")


@pytest.mark.parametrize("target", ["finder_dist.module", "finder_dist.plugin", "finder_dist"])
def test_a_module_of_a_distribution_is_reloaded(folder, write, monkeypatch, target):
    """Whatever file its entry point names: ``duty = "duty.module:Module"`` is a usual one."""
    write("finder_dist", ONE)
    place = folder / "finder_dist"
    (place / "plugin.py").write_text("from .module import Module\n")
    (place / "depth.py").write_text("VALUE = 'one'\n")
    monkeypatch.syspath_prepend(str(folder))
    point = importlib.metadata.EntryPoint("duty", f"{target}:Module", "mgr.modules")
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda **_: [point])
    first = reload_module("duty", ())
    (place / "depth.py").write_text("VALUE = 'two'\n")
    second = reload_module("duty", ())

    assert (first.error, second.error) == ("", "")
    assert [each.commands[0].signature_text for each in (first, second)] == ["one", "two"]
    assert first.digest != second.digest


def test_a_distribution_may_have_a_module_in_a_single_file(folder, monkeypatch):
    """There is no package to reload, only the file."""
    file = folder / "finder_single.py"
    text = ONE.replace("from .depth import VALUE", "VALUE = 'one'")
    file.write_text(text)
    monkeypatch.syspath_prepend(str(folder))
    point = importlib.metadata.EntryPoint("duty", "finder_single:Module", "mgr.modules")
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda **_: [point])
    first = reload_module("duty", ())
    file.write_text(text.replace("one", "two"))
    second = reload_module("duty", ())

    assert [each.commands[0].signature_text for each in (first, second)] == ["one", "two"]
    assert first.digest != second.digest


HELPED = """
import calendar
from mgr_module import MgrModule
from .helper import VALUE

class Module(MgrModule):
    COMMANDS = [{"cmd": VALUE, "desc": "Say", "perm": "r"}]
    LIBRARY = calendar
"""


@pytest.mark.parametrize("name", ["calendar", "antigravity", "yaml", "modules", "sys"])
async def test_a_folder_named_like_another_package_is_loaded_beside_it(folder, write, name):
    """Standard, installed, ours or built in: that one stays what it is, also after a reload."""
    before = sys.modules.get(name)
    write(name, HELPED)
    (folder / name / "helper.py").write_text("VALUE = 'one'\n")
    first = await found(folder, name)
    (folder / name / "helper.py").write_text("VALUE = 'two'\n")
    second = reload_module(name, [str(folder)])

    assert [each.error for each in (first, second)] == ["", ""]
    assert [each.commands[0].signature_text for each in (first, second)] == ["one", "two"]
    assert sys.modules.get(name) is before
    assert second.active.LIBRARY.isleap(2024)
    assert second.digest


async def test_modules_import_each_other_by_name(folder, write):
    """As Ceph's do; a folder whose name nothing else has keeps it."""
    write("finder_lender", GOOD)
    write("finder_borrower", "from finder_lender import Module as Base\nclass Module(Base): pass")

    module = await found(folder, "finder_borrower")

    assert module.active.__mro__[1].__module__ == "finder_lender.module"


@pytest.mark.parametrize("name", ["_private", "größe", "x" * 64, "two.parts"])
async def test_a_folder_whose_name_is_not_allowed_is_named(folder, write, caplog, name):
    """Its author would look for it in vain."""
    write(name, GOOD)
    write("finder_good", GOOD)

    modules = await find_modules([str(folder)], limit_s=5)

    assert name not in modules
    assert modules["finder_good"].loaded
    (record,) = [each for each in caplog.records if each.msg.startswith("module folder ignored")]
    assert record.folder == str(folder / name)
    assert "letters" in record.allowed

"""Finding and loading modules: folders with real files, loaded for real."""

import re
import sys

import pytest

from mgr.host.finder import (
    ModuleLocation,
    find_modules,
    load,
    module_locations,
    module_reports,
)
from mgr.host.reload import reload_module

GOOD = """
from mgr_module import CLIReadCommand, HandleCommandResult, MgrModule, MgrStandbyModule, Option


class Module(MgrModule):
    MODULE_OPTIONS = [Option("place", default="World")]
    NOTIFY_TYPES = ["health"]
    COMMANDS = [{"cmd": "old way", "desc": "Old", "perm": "r"}]

    @CLIReadCommand("good day")
    def day(self) -> HandleCommandResult:
        "Say it"
        return HandleCommandResult(stdout="day")


class Waiting(MgrStandbyModule):
    MODULE_OPTIONS = [Option("port", type="int", default=1), Option("place")]

    def serve(self):
        pass

    def shutdown(self):
        pass
"""


async def found(folder, name):
    return (await find_modules([str(folder)], limit_s=5))[name]


async def test_a_dropped_in_module_is_found_and_read(folder, write):
    """Class, standby class, commands, options and wanted notifications."""
    write("finder_good", GOOD)

    module = await found(folder, "finder_good")

    assert module.error == ""
    assert module.can_run
    assert module.active.__name__ == "Module"
    assert module.standby.__name__ == "Waiting"
    assert {each.signature_text.strip() for each in module.commands} >= {"old way", "good day"}
    assert module.notify_types == {"health"}
    types = {each["name"]: each.get("type", "str") for each in module.options}
    assert types["place"] == "str"
    assert types["port"] == "str"
    assert "log_level" in types


async def test_a_silent_package_is_asked_through_its_module_file(folder, write):
    """``__init__.py`` need not repeat a name."""
    write("finder_silent", GOOD, package='"""Only words."""')

    assert (await found(folder, "finder_silent")).loaded


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("import no_such_thing_here", "No module named 'no_such_thing_here'"),
        ("def broken(:", "invalid syntax"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("x = 1", "no subclass of MgrModule"),
        (
            "from mgr_module import MgrModule\nclass A(MgrModule): pass\nclass B(MgrModule): pass",
            "more than one subclass of MgrModule .*: A, B",
        ),
        (
            "from mgr_module import MgrModule\nclass A(MgrModule): COMMANDS = 7",
            "Missing or invalid COMMANDS attribute: it is a int, and not a list",
        ),
        (
            "from mgr_module import MgrModule\nclass A(MgrModule): COMMANDS = [{'cmd': 'x'}]",
            "Missing or invalid COMMANDS attribute: entry 1 has no 'desc': {'cmd': 'x'}",
        ),
        (
            "from mgr_module import MgrModule\nclass A(MgrModule): MODULE_OPTIONS = [{}]",
            "Missing or invalid MODULE_OPTIONS attribute: entry 1 has no 'name'",
        ),
        (
            "from mgr_module import MgrModule\nclass A(MgrModule): MODULE_OPTIONS = ['x']",
            "Missing or invalid MODULE_OPTIONS attribute: entry 1 is a str, and not a dict",
        ),
        (
            "from mgr_module import MgrModule\nclass A(MgrModule): SECRET_STORE_KEYS = 'token'",
            "SECRET_STORE_KEYS is not a list of texts: 'token'",
        ),
        (
            "class Odd(Exception):\n    def __str__(self): return 1 / 0\nraise Odd",
            r"Odd, whose text raises ZeroDivisionError \(.*/module.py:3\)",
        ),
        ("x = '\0'", r"null bytes \(.*/finder_bad.*:1\)"),
    ],
)
async def test_a_module_that_cannot_load_is_recorded_with_the_reason(folder, write, text, why):
    """Nothing that a module does at import is raised, and the others load."""
    write("finder_bad", text)
    write("finder_good", GOOD)

    modules = await find_modules([str(folder)], limit_s=5)

    bad = modules["finder_bad"]
    assert not bad.loaded
    assert not bad.can_run
    assert re.search(why, bad.error), bad.error
    assert modules["finder_good"].loaded
    assert next(r for r in module_reports(modules) if r.name == "finder_bad").error == bad.error


async def test_an_import_error_names_file_and_line(folder, write):
    """The author looks at the right place first."""
    write("finder_line", "x = 1\nimport no_such_thing_here")

    module = await found(folder, "finder_line")

    assert module.error.endswith(f"({folder}/finder_line/module.py:2)")


async def test_the_error_of_an_import_can_be_published(folder, write):
    """It goes into the manager's presence; what could not be written would end the manager."""
    write("finder_odd", "raise ValueError('\\udcff' * 2_000_000)")
    [report] = module_reports({"finder_odd": await found(folder, "finder_odd")})

    assert report.error.encode()
    assert len(report.error) < 20_000


@pytest.mark.parametrize(
    ("answer", "can_run", "error"),
    [
        ("(True, 'fine')", True, ""),
        ("(False, 'no disk')", False, "no disk"),
        ("True", False, "wrong type returned from can_run"),
        ("(1, '')", False, "wrong type returned from can_run"),
        ("[True, '']", False, "wrong type returned from can_run"),
        ("1 / 0", False, "can_run() raised ZeroDivisionError: division by zero ({file}:7)"),
        ("no", False, "can_run() raised NameError: name 'no' is not defined ({file}:7)"),
    ],
)
async def test_can_run_decides_and_is_not_trusted(folder, write, answer, can_run, error):
    """A tuple of bool and str, nothing else; whatever it raises means no."""
    write(
        "finder_can",
        f"""
        from mgr_module import MgrModule

        class Module(MgrModule):
            @staticmethod
            def can_run():
                return {answer}
        """,
    )

    module = await found(folder, "finder_can")

    assert module.loaded
    assert (module.can_run, module.error) == (can_run, error.format(file=module.place))


async def test_a_base_class_beside_its_subclass_is_no_second_module(folder, write):
    """Mix-ins that derive from MgrModule are common."""
    write(
        "finder_base",
        """
        from mgr_module import MgrModule

        class Base(MgrModule): pass
        class Module(Base): pass
        """,
    )

    assert (await found(folder, "finder_base")).active.__name__ == "Module"


async def test_an_import_that_never_ends_is_given_up(folder, write):
    """One module cannot keep a manager from becoming warm."""
    write("finder_hangs", "import threading\nthreading.Event().wait(3)")
    write("finder_later", GOOD)

    modules = await find_modules([str(folder)], limit_s=0.2)

    assert "still being imported after 0.2 s" in modules["finder_hangs"].error
    assert modules["finder_later"].loaded


def test_a_second_claimant_of_a_name_is_an_error_that_names_both():
    """Which of two would run must not depend on luck."""
    module = load(
        ModuleLocation("twin", "twin", "/a/twin/module.py", conflicting_place="/b/twin/module.py")
    )

    assert not module.loaded
    assert module.error == "two modules are called 'twin': /a/twin/module.py and /b/twin/module.py"


def test_a_folder_that_claims_a_bundled_name_makes_it_unusable(folder, write):
    """First name wins the name, and the operator is told of both places."""
    write("status", GOOD)

    [claimed] = [c for c in module_locations([str(folder)]) if c.name == "status"]

    assert claimed.package == "modules.status"
    assert claimed.conflicting_place == str(folder / "status" / "module.py")


async def test_a_bundled_module_gives_way_when_its_name_is_skipped(folder, write):
    """By name or all of them; a module from the folder is then the only claimant."""
    write("status", GOOD)

    ours = await find_modules([str(folder)], limit_s=5)
    theirs = await find_modules([str(folder)], skip=["status"], limit_s=5)
    none = await find_modules([], skip=["all"], limit_s=5)

    assert "mgrd --bundled-skip status leaves out ours" in ours["status"].error
    assert theirs["status"].place == str(folder / "status" / "module.py")
    assert theirs["status"].loaded
    assert "hello" in theirs
    assert none == {}


async def test_a_name_that_no_bundled_module_has_is_survived(caplog):
    """A typing error is told in the log."""
    assert "hello" in await find_modules([], skip=["helo"], limit_s=5)
    assert "bundled_skip names no bundled module" in caplog.text


@pytest.mark.parametrize(
    ("name", "code", "caller"),
    [
        ("import", "raise KeyError('x')", "PyModule::load_subclass_of"),
        ("commands", "_register_commands = classmethod(fail)", "PyModule::load_commands"),
        ("options", "_register_options = classmethod(fail)", "PyModule::register_options"),
        ("can_run", "can_run = staticmethod(fail)", "PyModule::load"),
    ],
)
async def test_what_a_module_raises_while_it_is_loaded_is_kept(folder, write, name, code, caller):
    """For a crash report, should it be enabled; in ceph-mgr's words."""
    text = """
    from mgr_module import MgrModule

    def fail(*_):
        raise KeyError("x")

    class Module(MgrModule):
        COMMANDS = []
        MODULE_OPTIONS = []
        CODE
    """
    write(f"crash_{name}", text.replace("CODE", code))

    (crash,) = (await found(folder, f"crash_{name}")).crashes

    assert (crash.origin, crash.kind) == (caller, "KeyError")


async def test_a_folder_that_is_missing_is_survived(folder):
    """A typing error in module_path does not stop a manager."""
    modules = await find_modules([str(folder / "nowhere")], limit_s=5)

    assert "status" in modules


def test_folders_are_appended_so_that_nothing_installed_is_shadowed(folder, write):
    """A module called like a library does not become that library."""
    write("json", GOOD)

    list(module_locations([str(folder)]))

    assert sys.path[-1] == str(folder)


async def test_a_class_says_that_its_module_is_always_on(folder, write):
    """By exactly True: no text and no number is taken for a yes."""
    text = "from mgr_module import MgrModule\nclass Module(MgrModule):\n    ALWAYS_ON = {}\n"
    write("finder_always", text.format("True"))
    write("finder_perhaps", text.format("'no'"))

    assert (await found(folder, "finder_always")).always_on is True
    assert (await found(folder, "finder_perhaps")).always_on is False


ONE = """
from mgr_module import MgrModule
from .depth import VALUE

class Module(MgrModule):
    COMMANDS = [{"cmd": VALUE, "desc": "Say", "perm": "r"}]
"""


async def test_changed_files_are_reloaded(folder, write):
    """All of the package, however soon after the first time and however alike they look."""
    write("finder_reloaded", ONE)
    (folder / "finder_reloaded" / "depth.py").write_text("VALUE = 'one'\n")
    first = await found(folder, "finder_reloaded")
    (folder / "finder_reloaded" / "depth.py").write_text("VALUE = 'two'\n")
    second = reload_module("finder_reloaded", [str(folder)])

    assert [each.commands[0].signature_text for each in (first, second)] == ["one", "two"]
    assert second.active is not first.active


async def test_files_that_do_not_import_leave_everything_as_it_was(folder, write):
    """What runs may import lazily, and must find itself."""
    write("finder_broken", GOOD)
    first = await found(folder, "finder_broken")
    (folder / "finder_broken" / "module.py").write_text("def broken(:\n")
    second = reload_module("finder_broken", [str(folder)])

    assert not second.loaded
    assert "invalid syntax" in second.error
    assert sys.modules["finder_broken.module"].Module is first.active
    assert sys.modules["finder_broken"].Module is first.active


def test_a_module_that_appeared_later_is_loaded(folder, write):
    """And one that is nowhere is an error that names it."""
    write("finder_late", GOOD)

    assert reload_module("finder_late", [str(folder)]).loaded
    assert reload_module("finder_never", [str(folder)]).error == "there is no module 'finder_never'"


def test_a_bundled_module_stays_where_its_package_shows_it():
    """A failed attempt puts back the parent's attribute, too."""
    import modules.hello

    before = modules.hello
    assert reload_module("hello", ()).loaded
    assert modules.hello is sys.modules["modules.hello"] is not before


async def test_a_module_acts_outside_the_store_unless_it_says_that_it_does_not(folder, write):
    """Modules written for ceph-mgr know nothing of this: they are quarantined to be safe."""
    write("silent", GOOD)
    write(
        "inside", GOOD.replace("    MODULE_OPTIONS", '    EFFECTS = "store"\n    MODULE_OPTIONS', 1)
    )
    write(
        "outside",
        GOOD.replace("    MODULE_OPTIONS", '    EFFECTS = "external"\n    MODULE_OPTIONS', 1),
    )

    catalogue = await find_modules([str(folder)], limit_s=10)

    assert {n: catalogue[n].classify({}).external for n in ("silent", "inside", "outside")} == {
        "silent": True,
        "inside": False,
        "outside": True,
    }


async def test_no_bundled_module_is_quarantined():
    """Whatever led before: they begin the moment their manager leads."""
    catalogue = await find_modules([], limit_s=10)

    bundled = [one for one in catalogue.values() if one.active.__module__.startswith("modules.")]
    assert bundled
    external = [one.name for one in bundled if one.classify({}).external]
    assert external == ["ceph"]  # its commands change another cluster

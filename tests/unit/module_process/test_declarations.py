"""What modules declare is read in processes that may die."""

import os
import sys

import pytest

from mgr.host.finder import find_modules
from mgr.module_process.declarations import Declarations
from tests.support.cluster import wait_for
from tests.unit.module_process.conftest import ORDER

GOOD = """
    from mgr_module import CLIReadCommand, HandleCommandResult, MgrModule, MgrStandbyModule, Option

    class Odd:
        pass

    class Module(MgrModule):
        EFFECTS = "none"
        NOTIFY_TYPES = ["health"]
        MODULE_OPTIONS = [Option("place", default="here", desc=Odd())]

        @CLIReadCommand("good ask")
        def ask(self) -> HandleCommandResult:
            \"\"\"Answer\"\"\"
            return HandleCommandResult()

    class Standby(MgrStandbyModule):
        def serve(self): pass
        def shutdown(self): pass
"""
DIES = "import os, signal\nos.kill(os.getpid(), signal.SIGILL)\n"
EXITS = "import os\nos._exit(7)\n"
HANGS = "import time\nwhile True: time.sleep(1)\n"
PATCHES = """
    import socket, time
    from mgr_module import MgrModule

    time.monotonic = lambda: 0.0
    socket.setdefaulttimeout(1)

    class Module(MgrModule):
        pass
"""
FORKS_AND_RETURNS = """
    import os
    from mgr_module import MgrModule

    if os.fork():
        # Else the child ends with its parent, whose import is over.
        os.wait()

    class Module(MgrModule):
        pass
"""
FORKS = """
    import os, time
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            open(os.environ["MGR_TEST_FILE"], "w").write(str(os.getpid()))
            time.sleep(60)
        os._exit(0)
    time.sleep(0.2)
    os.kill(os.getpid(), 11)
"""


async def found_of(folder, declarations, name):
    """The module as the finder finds it."""
    return (await find_modules([folder.path], limit_s=10, declare=declarations.read))[name]


async def test_a_module_is_read_and_not_imported_here(folder, declarations):
    """Options, commands, kinds of notification, effects, standby class."""
    folder("good", GOOD)

    found = await found_of(folder, declarations, "good")

    assert found.loaded
    assert found.can_run
    assert found.active is None
    assert found.has_standby
    assert [each.signature_text.strip() for each in found.commands] == ["good ask"]
    assert found.options[0]["name"] == "place"
    assert "desc" not in found.options[0]
    assert found.notify_types == {"health"}
    assert found.effects.value == "none"
    assert "good" not in sys.modules
    assert "good.module" not in sys.modules


@pytest.mark.parametrize(
    ("code", "said"), [(DIES, "SIGILL"), (EXITS, "exit status 7"), ("1/0", "ZeroDivisionError")]
)
async def test_a_module_that_dies_when_imported_harms_nobody(folder, declarations, code, said):
    """It is not loaded, for that reason, and where; the others are."""
    folder("bad", code)
    folder("good", GOOD)

    found = await find_modules([folder.path], limit_s=10, declare=declarations.read)

    assert not found["bad"].loaded
    assert said in found["bad"].error
    assert "bad/module.py" in found["bad"].error
    assert found["good"].loaded


async def test_a_module_that_hangs_when_imported_is_given_up(folder, processes):
    """With the line where it stands."""
    folder("hangs", HANGS)
    declarations = Declarations(processes, ORDER, limit_s=1)

    found = await found_of(folder, declarations, "hangs")

    assert not found.loaded
    assert "still being imported after 1 s" in found.error
    assert "line 2" in found.error


async def test_nothing_is_left_of_what_it_started(folder, declarations, tmp_path, monkeypatch):
    """However often that forked, and whatever session it is in."""
    monkeypatch.setenv("MGR_TEST_FILE", str(tmp_path / "pid"))
    folder("forks", FORKS)

    found = await found_of(folder, declarations, "forks")

    assert "SIGSEGV" in found.error
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


async def test_changed_files_are_read_again(folder, declarations):
    """Also those changed within a second, of the same size."""
    folder("good", GOOD)
    first = await found_of(folder, declarations, "good")
    again = await declarations.read(first.location, fresh=True)
    folder("good", GOOD.replace("good ask", "good say"))

    changed = await declarations.read(first.location, fresh=True)

    assert [each.signature_text.strip() for each in changed.commands] == ["good say"]
    assert again.digest
    assert again.digest != changed.digest


async def test_what_an_import_changes_for_everybody_is_declared(folder, declarations):
    """So that the module gets a process of its own; a usual one changes nothing."""
    folder("good", GOOD)
    folder("patches", PATCHES)

    found = await find_modules([folder.path], limit_s=10, declare=declarations.read)

    assert found["patches"].loaded
    assert found["patches"].changes == ("socket.setdefaulttimeout", "time.monotonic")
    assert found["good"].changes == ()


async def test_a_child_that_returns_from_the_import_is_ended(folder, declarations, capfd):
    """It answers nothing in place of its parent, and the author is told what to write."""
    said = []
    folder("forks", FORKS_AND_RETURNS)

    found = await found_of(folder, declarations, "forks")

    assert found.loaded
    wait_for(lambda: said.append(capfd.readouterr().err) or "end it by os._exit" in said[-1], "it")

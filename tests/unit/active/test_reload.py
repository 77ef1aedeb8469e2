"""Reloading and switching modules in place: real files, a running active."""

import asyncio
import sys
import threading
from dataclasses import replace

import pytest
from msgspec import structs

from mgr.config.enabled_modules import Switch, encode
from mgr.election.records import encode as encode_record
from mgr.errors import ModuleNotReadyError
from mgr.host.finder import find_modules
from mgr.host.reload import reload_module
from mgr.link import ModuleReport
from mgr.module_api.module import MgrModule
from tests.unit.active.conftest import command_table, discovered_module
from tests.unit.active.test_reach import PRESENCE

TEXT = """
from mgr_module import CLIReadCommand, MgrModule, Option

class Module(MgrModule):
    MODULE_OPTIONS = [Option("{option}")]

    @CLIReadCommand("reloaded say")
    def say(self):
        "Say"
        return 0, "{text}", ""
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write the module ``reloaded``; forgotten afterwards."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "reloaded").mkdir()
    (tmp_path / "reloaded" / "__init__.py").write_text("from .module import Module\n")

    def write_module(text):
        (tmp_path / "reloaded" / "module.py").write_text(text)
        return str(tmp_path)

    yield write_module
    for name in [name for name in sys.modules if name.startswith("reloaded")]:
        del sys.modules[name]


def other():
    """A module that must not notice, and how often it was made."""
    made = []

    def constructor(self, *args):
        MgrModule.__init__(self, *args)
        made.append(self)

    return discovered_module("other", type("Other", (MgrModule,), {"__init__": constructor})), made


async def test_a_module_is_reloaded_in_place(active, write):
    """Commands and options are the new ones; nothing else restarts."""
    path = write(TEXT.format(text="one", option="old"))
    found = (await find_modules([path], limit_s=5))["reloaded"]
    neighbour, made = other()
    enabled = ["reloaded", "other"]
    async with active(found, neighbour, enabled=enabled, module_path=(path,)) as cluster:
        first = await cluster.ask("reloaded", "say")
        write(TEXT.format(text="two", option="new"))
        answer = await cluster.ask("mgr", "module", "reload", "reloaded")
        second = await cluster.ask("reloaded", "say")
        options = await cluster.ask("config", "ls")
        shown = cluster.role._publisher.mgr_map()["available_modules"]
        record = cluster.mirror.get(cluster.keys.reload("reloaded"))

    assert record.value == reload_module("reloaded", [path]).digest
    assert (first.stdout, second.stdout) == ("one", "two")
    assert "Standbys follow" in answer.stderr
    assert "mgr/reloaded/new" in options.stdout
    assert "mgr/reloaded/old" not in options.stdout
    [entry] = [each for each in shown if each["name"] == "reloaded"]
    assert "new" in entry["module_options"]
    assert len(made) == 1


async def test_files_that_do_not_import_change_nothing(active, write):
    """The author reads why; what ran goes on."""
    path = write(TEXT.format(text="one", option="old"))
    found = (await find_modules([path], limit_s=5))["reloaded"]
    async with active(found, enabled=["reloaded"], module_path=(path,)) as cluster:
        before = cluster.role._modules.instance_of("reloaded")
        write("def broken(:\n")
        answer = await cluster.ask("mgr", "module", "reload", "reloaded")
        said = await cluster.ask("reloaded", "say")

        assert cluster.role._modules.instance_of("reloaded") is before
        assert cluster.mirror.get(cluster.keys.reload("reloaded")) is None
    assert answer.retval == -22
    assert "module 'reloaded' was not reloaded: invalid syntax" in answer.stderr
    assert said.stdout == "one"


async def test_a_manager_that_did_not_follow_is_named(active):
    """A standby by its presence, the active itself if it was elected as it was."""
    hello = replace(discovered_module("hello", type("Hello", (MgrModule,), {})), outdated="why")
    other = ModuleReport(name="hello", can_run=True, outdated="its files differ")
    async with active(hello) as cluster:
        one = (await cluster.health())["MGR_MODULE_OUTDATED"]
        await cluster.put(
            cluster.keys.manager("b"),
            encode_record(structs.replace(PRESENCE, name="b", modules=(other,))),
        )
        both = (await cluster.health())["MGR_MODULE_OUTDATED"]

    assert one["summary"]["message"] == ("mgr.a did not reload module 'hello': why")
    assert both["summary"]["count"] == 2
    assert any("mgr.b" in line["message"] for line in both["detail"])


async def test_a_module_that_appeared_can_be_reloaded_and_enabled(active, write):
    """No manager restarts for a file that was dropped in."""
    async with active(module_path=(write(TEXT.format(text="new", option="o")),)) as cluster:
        answer = await cluster.ask("mgr", "module", "reload", "reloaded")
        await cluster.ask("mgr", "module", "enable", "reloaded")
        said = await cluster.ask("reloaded", "say")

    assert "it is not enabled" in answer.stderr
    assert said.stdout == "new"


async def test_commands_are_held_while_a_module_stops_to_start_anew(active):
    """Off and on again while its old instance still stops: a pause, no error."""
    stopping, go = threading.Event(), threading.Event()

    class Slow(MgrModule):
        COMMANDS = command_table("slow say")

        def handle_command(self, _inbuf, _cmd):
            return 0, "here", ""

        def shutdown(self):
            stopping.set()
            go.wait(5)

    async with active(discovered_module("slow", Slow), enabled=["slow"]) as cluster:
        await cluster.switch("slow", on=False)
        await cluster.until(stopping.is_set)
        await cluster.switch("slow", on=True)
        runner = cluster.role._modules.runner_of("slow")
        with pytest.raises(ModuleNotReadyError, match="still being stopped"):
            await runner.ready(until_s=0)
        async with asyncio.TaskGroup() as callers:
            held = callers.create_task(cluster.ask("slow", "say"))
            await asyncio.sleep(0)
            go.set()

    assert held.result().stdout == "here"


async def test_an_always_on_module_runs_unless_it_is_forced_off(active):
    """Without a record, and with one that disables it; the map lists it apart."""

    class Always(MgrModule):
        COMMANDS = command_table("always say")
        ALWAYS_ON = True

        def handle_command(self, _inbuf, _cmd):
            return 0, "here", ""

    async with active(discovered_module("always", Always)) as cluster:
        shown = cluster.role._publisher.mgr_map()
        first = await cluster.ask("always", "say")
        refused = await cluster.ask("mgr", "module", "disable", "always")
        unsure = await cluster.ask("mgr", "module", "force", "disable", "always")
        sure = ("mgr", "module", "force", "disable", "always", "--yes-i-really-mean-it")
        assert (await cluster.ask(*sure)).retval == 0
        await cluster.until(lambda: cluster.role._modules.instance_of("always") is None)
        listed = await cluster.ask("mgr", "module", "ls")
        healthy = await cluster.health()
        await cluster.ask("mgr", "module", "enable", "always")
        again = await cluster.ask("always", "say")
        await cluster.put(cluster.keys.module("always"), encode(Switch(enabled=False)))
        still = await cluster.ask("always", "say")

    assert (shown["modules"], shown["always_on_modules"]) == ([], {"tentacle": ["always"]})
    assert [first.stdout, again.stdout, still.stdout] == ["here"] * 3
    assert (refused.retval, unsure.retval) == (-1, -1)
    assert "off (always on but force-disabled)" in listed.stdout
    assert "MGR_MODULE_ERROR" not in healthy


STATE = """
import threading
from mgr_module import CLIReadCommand, HandleCommandResult, MgrModule


class Module(MgrModule):
    stopping = threading.Event()
    served = []

    @CLIReadCommand("reloaded state")
    def state(self) -> HandleCommandResult:
        \"\"\"Show what is left\"\"\"
        return HandleCommandResult(stdout=f"{self.stopping.is_set()} {len(self.served)}")

    def serve(self):
        self.served.append(1)
        self.stopping.wait()

    def shutdown(self):
        self.stopping.set()
"""


async def test_enabling_again_begins_with_fresh_classes(active, write):
    """An event of the class that ``shutdown`` has set would end the second ``serve`` at once."""
    async with active(module_path=(write(STATE),)) as cluster:
        await cluster.ask("mgr", "module", "reload", "reloaded")
        await cluster.ask("mgr", "module", "enable", "reloaded")
        first = await cluster.ask("reloaded", "state")
        await cluster.ask("mgr", "module", "disable", "reloaded")
        await cluster.ask("mgr", "module", "enable", "reloaded")
        second = await cluster.ask("reloaded", "state")
        write("def broken(:\n")
        await cluster.ask("mgr", "module", "disable", "reloaded")
        refused = await cluster.ask("mgr", "module", "enable", "reloaded")

    assert first.stdout.startswith("False")
    assert second.stdout.startswith("False")
    assert refused.retval == -22
    assert "invalid syntax" in refused.stderr

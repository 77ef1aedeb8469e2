"""Modules do everything they should not; the others serve and the manager comes back."""

from __future__ import annotations

import json
import re
import textwrap

import pytest

from mgr.errors import MayHaveRunError
from tests.support.cluster import wait_for

GOOD = """
    from mgr_module import CLIReadCommand, HandleCommandResult, MgrModule

    class Module(MgrModule):
        @CLIReadCommand("good ask")
        def ask(self) -> HandleCommandResult:
            \"\"\"Answer\"\"\"
            return HandleCommandResult(stdout="well")
"""

FAULTY = {
    "unparsable": """
        def broken(:
    """,
    "raises_in_import": """
        raise RuntimeError("not on this machine")
    """,
    "raises_in_constructor": """
        from mgr_module import MgrModule

        class Module(MgrModule):
            def __init__(self, *args, **kwargs):
                super().__init__(*args, **kwargs)
                raise RuntimeError("not today")
    """,
    "raises_in_serve": """
        from mgr_module import MgrModule

        class Module(MgrModule):
            def serve(self):
                raise RuntimeError("served enough")
    """,
    "exits_in_serve": """
        import os
        from mgr_module import MgrModule

        class Module(MgrModule):
            def serve(self):
                os._exit(3)
    """,
}

CHANGES_ALL = {
    "stops_the_clock": """
        import time
        from mgr_module import CLIReadCommand, HandleCommandResult, MgrModule

        time.time = time.monotonic = lambda: 0.0

        class Module(MgrModule):
            @CLIReadCommand("stops_the_clock ask")
            def ask(self) -> HandleCommandResult:
                \"\"\"Answer\"\"\"
                return HandleCommandResult(stdout=f"at {time.time()}")
    """,
    "stops_it_later": """
        import _thread, socket, time
        from mgr_module import CLIReadCommand, HandleCommandResult, MgrModule

        class Module(MgrModule):
            @CLIReadCommand("stops_it_later now")
            def now(self) -> HandleCommandResult:
                \"\"\"Change it\"\"\"
                time.time = time.monotonic = lambda: 0.0
                _thread.interrupt_main()
                return HandleCommandResult(stdout="done")
    """,
}

HARMFUL = {
    "dies": """
        import os, signal
        from mgr_module import CLIWriteCommand, HandleCommandResult, MgrModule

        class Module(MgrModule):
            @CLIWriteCommand("dies now")
            def now(self) -> HandleCommandResult:
                \"\"\"Kill the process: what a crash in C code does\"\"\"
                os.kill(os.getpid(), signal.SIGKILL)
    """,
    "computes": """
        from mgr_module import CLIWriteCommand, HandleCommandResult, MgrModule

        class Module(MgrModule):
            @CLIWriteCommand("computes now")
            def now(self) -> HandleCommandResult:
                \"\"\"Hold the interpreter lock for seconds, in one call into C\"\"\"
                return HandleCommandResult(stdout=str((3**30_000_000) % 7))
    """,
    "stays": """
        import threading
        from mgr_module import CLIReadCommand, HandleCommandResult, MgrModule

        class Module(MgrModule):
            def shutdown(self):
                threading.Event().wait()

            @CLIReadCommand("stays ask")
            def ask(self) -> HandleCommandResult:
                \"\"\"Answer\"\"\"
                return HandleCommandResult(stdout="still here")
    """,
    "acts_on": """
        import pathlib, time
        from mgr_module import MgrModule

        class Module(MgrModule):
            def serve(self):
                while True:
                    with (pathlib.Path(__file__).parent / "effects").open("a") as effects:
                        effects.write(f"{self.get_term()} {id(self)}\\n")
                    time.sleep(0.002)
    """,
    "leaves_a_thread": """
        import pathlib, threading, time
        from mgr_module import MgrModule

        class Module(MgrModule):
            def serve(self):
                threading.Thread(target=self.act, daemon=True).start()

            def act(self):
                while True:
                    with (pathlib.Path(__file__).parent / "effects").open("a") as effects:
                        effects.write(f"{self.get_term()} {id(self)}\\n")
                    time.sleep(0.002)
    """,
}


@pytest.fixture
def modules(tmp_path):
    """A folder with all of these."""
    folder = tmp_path / "modules"
    write(folder, {"good": GOOD, **FAULTY, **CHANGES_ALL, **HARMFUL})
    return folder


def write(folder, modules):
    """Write a package for each module."""
    for name, code in modules.items():
        package = folder / name
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("")
        (package / "module.py").write_text(textwrap.dedent(code))


@pytest.fixture
def cluster(start, modules):
    running = start(module_path=modules)
    running.settled()
    running.enable("good")
    return running


def health(cluster):
    return cluster.run("health", "detail").text


@pytest.mark.parametrize("name", FAULTY)
def test_a_module_that_cannot_work_is_named_and_harms_nobody(cluster, name):
    """In health and in ``mgr module ls``; the active stays, the others answer."""
    active = cluster.settled()
    worker = active.worker_pid

    cluster.run("mgr", "module", "enable", name, force=True)

    wait_for(lambda: name in health(cluster), f"{name} in health")
    assert name in cluster.run("mgr", "module", "ls").text
    assert cluster.run("good", "ask").text == "well"
    assert cluster.active().name == active.name
    assert active.worker_pid == worker


@pytest.mark.parametrize("name", ["unparsable", "raises_in_constructor", "exits_in_serve"])
def test_a_fault_becomes_a_crash_report(cluster, name):
    """Listed, told in health, and archived by whoever has seen it."""
    cluster.run("mgr", "module", "enable", name, force=True)

    wait_for(lambda: "RECENT_MGR_MODULE_CRASH" in health(cluster), "the warning")
    (listed,) = json.loads(cluster.run("crash", "ls", format="json").text)
    assert listed["mgr_module"] == name
    assert "module.py" in "".join(listed["backtrace"])
    assert cluster.run("crash", "archive", listed["crash_id"]).retval == 0
    wait_for(lambda: "RECENT_MGR_MODULE_CRASH" not in health(cluster), "health without it")


def test_a_module_that_changes_what_all_share_harms_nobody(cluster):
    """When it is imported, it gets a process in which it may; later, it is undone."""
    active = cluster.settled()
    workers = {m.name: m.worker_pid for m in cluster.managers.values()}

    cluster.enable("stops_the_clock", "stops_it_later")
    assert cluster.run("stops_the_clock", "ask").text == "at 0.0"
    cluster.run("stops_it_later", "now")
    wait_for(lambda: "undone: a module changed" in active.log.read_text(), "the line in the log")

    assert "changed='time.monotonic, time.time'" in active.log.read_text()
    assert "signal ignored: the guard ends this worker signal=SIGINT" in active.log.read_text()
    info = cluster.run("mgr", "module", "info", module="stops_the_clock").text
    assert "process:  of its own, for its import changes time.monotonic, time.time" in info
    assert cluster.run("config", "set", who="mgr", name="debug_mgr", value="5").retval == 0
    assert cluster.run("good", "ask").text == "well"
    assert {m.name: m.worker_pid for m in cluster.managers.values()} == workers


def test_a_command_that_kills_its_worker_costs_one_worker(cluster):
    """Another manager leads, and the command is not run again: its caller learns that."""
    first = cluster.settled()
    cluster.enable("dies")
    workers = {m.name: m.worker_pid for m in cluster.managers.values()}

    with pytest.raises(MayHaveRunError):
        cluster.run("dies", "now", timeout_s=20)

    second = cluster.settled()
    died = [m.name for m in cluster.managers.values() if m.worker_pid != workers[m.name]]
    assert died == [first.name]
    assert second.name != first.name
    assert cluster.run("good", "ask").text == "well"


def test_a_module_that_holds_the_interpreter_is_named_by_its_stack(start, modules):
    """Nothing else of the worker runs meanwhile; it is killed, and the log says by whose fault."""
    cluster = start(module_path=modules, watchdog_s=0.6)
    first = cluster.settled()
    cluster.enable("good", "computes")

    # A write: asked again after the kill, it is not run again. A read would be.
    with pytest.raises(MayHaveRunError):
        cluster.run("computes", "now", timeout_s=20)

    wait_for(lambda: cluster.active().name != first.name, "a successor")
    said = first.log.read_text()
    assert "computes/module.py" in said
    assert "no heartbeat from worker: killed" in said


def test_a_module_that_never_stops_does_not_keep_leadership(cluster):
    """Its worker is killed when its time is up; only then is leadership given up."""
    first = cluster.settled()
    cluster.enable("stays")
    worker = first.worker_pid

    assert cluster.run("mgr", "fail").retval == 0

    second = wait_for(
        lambda: active if (active := cluster.active()).name != first.name else None, "a successor"
    )
    assert cluster.run("stays", "ask").text == "still here"
    cluster.settled()
    assert first.worker_pid != worker
    assert second.running


def test_a_disabled_module_that_acts_on_has_ended_before_the_successor_acts(cluster, modules):
    """It is not started a second time beside itself, and the hand-over kills its worker first."""
    effects = modules / "acts_on" / "effects"
    first = cluster.settled()
    cluster.enable("acts_on")
    wait_for(effects.exists, "effects")
    cluster.run("mgr", "module", "disable", "acts_on")
    wait_for(lambda: "MGR_MODULE_ABANDONED" in health(cluster), "the module in health")

    said = cluster.run("mgr", "module", "enable", "acts_on")
    assert "not started yet" in said.stderr
    cluster.run("mgr", "fail")
    wait_for(lambda: cluster.active().name != first.name, "a successor")
    wait_for(lambda: len(set(effects.read_text().splitlines())) > 1, "effects of the successor")
    cluster.settled()

    acted = [int(line.split()[0]) for line in effects.read_text().splitlines()]
    assert acted == sorted(acted)
    # One instance for each term: never two in one worker.
    instances = set(effects.read_text().splitlines())
    assert len(instances) == len({line.split()[0] for line in instances}) == 2


def test_a_thread_that_a_module_left_behind_has_ended_before_the_successor_acts(cluster, modules):
    """Its ``shutdown`` returned; the hand-over kills its worker all the same."""
    effects = modules / "leaves_a_thread" / "effects"
    first = cluster.settled()
    cluster.enable("leaves_a_thread")
    wait_for(effects.exists, "effects")

    cluster.run("mgr", "fail")
    wait_for(lambda: cluster.active().name != first.name, "a successor")
    wait_for(lambda: len(set(effects.read_text().splitlines())) > 1, "effects of the successor")
    cluster.settled()

    acted = [int(line.split()[0]) for line in effects.read_text().splitlines()]
    assert acted == sorted(acted)
    assert "threads of modules still run" in first.log.read_text()


def test_a_faulty_module_is_not_in_the_way_of_disabling_it(cluster):
    """Disabled, it is gone from health."""
    cluster.run("mgr", "module", "enable", "raises_in_serve", force=True)
    wait_for(lambda: "MGR_MODULE_ERROR" in health(cluster), "the module in health")

    assert cluster.run("mgr", "module", "disable", "raises_in_serve").retval == 0

    # What it did stays there as a recent crash, until somebody archives that.
    wait_for(lambda: "MGR_MODULE_ERROR" not in health(cluster), "health without it")
    listed = json.loads(cluster.run("mgr", "module", "ls", format="json").text)
    assert "raises_in_serve" not in listed["enabled_modules"]


ROOT = """
    import logging, logging.config, sys

    logging.basicConfig(level=logging.DEBUG, stream=sys.stderr, force=True)
    logging.config.dictConfig({"version": 1, "root": {"level": "CRITICAL"}})

    from mgr_module import MgrModule

    class Module(MgrModule):
        def serve(self):
            logging.disable(logging.CRITICAL)
            logging.getLogger("some.library").info("library line")
            self.log.error("own line")
"""


def test_the_managers_log_keeps_its_form(start, tmp_path):
    """Whatever a module does to the root logger, and though its folder is called ``root``."""
    folder = tmp_path / "modules"
    write(folder, {"root": ROOT})
    running = start(names=("a",), module_path=folder)
    log = running.active().log

    running.enable("root")
    wait_for(lambda: "own line" in log.read_text(), "the module has logged")

    stamped = re.compile(r"(\d{4}-\d\d-\d\dT\S+ (DEBUG|INFO|WARNING|ERROR) +a/| {4})")
    lines = log.read_text().splitlines()
    assert [line for line in lines if not stamped.match(line)] == []
    assert "library line" not in log.read_text()
    assert "a/worker modules.root: own line" in log.read_text()
    assert "refused a change of the root logger" in log.read_text()

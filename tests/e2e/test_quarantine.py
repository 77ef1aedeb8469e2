"""A module that kills its worker costs three workers, then the cluster leads without it."""

from __future__ import annotations

import contextlib
import json
import signal
import textwrap

import pytest

from mgr.errors import MayHaveRunError, MgrError
from tests.support.cluster import wait_for

pytestmark = pytest.mark.timeout(240)
"""Several workers start one after the other, with pauses after the third crash."""

SERVE = """
    import ctypes
    from mgr_module import MgrModule

    class Module(MgrModule):
        def serve(self):
            ctypes.string_at(0)
"""
IMPORT = """
    import os, pathlib, signal
    if not (pathlib.Path(__file__).parent / "mended").exists():
        os.kill(os.getpid(), signal.SIGILL)
    from mgr_module import CLIReadCommand, HandleCommandResult, MgrModule

    class Module(MgrModule):
        @CLIReadCommand("at_import ask")
        def ask(self) -> HandleCommandResult:
            \"\"\"Answer\"\"\"
            return HandleCommandResult(stdout="mended")
"""
COMMAND = """
    import ctypes
    from mgr_module import CLIReadCommand, HandleCommandResult, MgrModule

    class Module(MgrModule):
        @CLIReadCommand("in_command now")
        def now(self) -> HandleCommandResult:
            \"\"\"Crash; a client asks a read again, on every manager\"\"\"
            ctypes.string_at(0)
"""
COMPUTES = """
    from mgr_module import CLIWriteCommand, HandleCommandResult, MgrModule

    class Module(MgrModule):
        @CLIWriteCommand("computes now")
        def now(self) -> HandleCommandResult:
            \"\"\"Hold the interpreter lock for seconds, in one call into C\"\"\"
            return HandleCommandResult(stdout=str((3**30_000_000) % 7))
"""


@pytest.fixture
def folder(tmp_path):
    """Where modules are put."""
    made = tmp_path / "modules"
    made.mkdir()
    return made


def write(folder, name, code):
    """Put a module there; its own folder."""
    package = folder / name
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "module.py").write_text(textwrap.dedent(code))
    return package


def deaths(cluster, by):
    """The workers that ended by ``by``, as the managers' logs count them."""
    logs = [manager.log.read_text() for manager in cluster.managers.values()]
    return sum(
        line.count("worker exited") and f"how={by}" in line
        for log in logs
        for line in log.splitlines()
    )


def quarantined(cluster):
    """What health says of quarantined modules; empty while it says nothing."""
    try:
        checks = json.loads(cluster.run("health", "detail", format="json").text)["checks"]
    except MgrError:
        return ""
    found = checks.get("MGR_MODULE_QUARANTINED")
    return found["detail"][0]["message"] if found else ""


def reports(cluster):
    """The crash reports of workers, as ``crash ls`` lists them."""
    try:
        listed = json.loads(cluster.run("crash", "ls", format="json").text)
    except (MgrError, ValueError):
        return []
    return [one for one in listed if "mgr_signal" in one]


def test_a_module_that_dies_in_serve_costs_three_workers(start, folder):
    """Then the cluster leads without it; health and ``crash ls`` name it, signal and stack."""
    write(folder, "in_serve", SERVE)
    cluster = start(module_path=folder)
    cluster.settled(60)

    cluster.run("mgr", "module", "enable", "in_serve", force=True)
    why = wait_for(lambda: quarantined(cluster), "the quarantine in health", 60)

    assert "in_serve" in why
    assert "killed 3 workers by SIGSEGV in serve()" in why
    assert "mgrctl mgr module release in_serve" in why
    cluster.settled(60)
    assert deaths(cluster, "SIGSEGV") == 3
    found = wait_for(lambda: each if len(each := reports(cluster)) == 3 else None, "the reports")
    for report in found:
        assert report["mgr_signal"] == "SIGSEGV"
        assert report["mgr_module"] == "in_serve"
        assert report["entity_name"] in {"mgr.a", "mgr.b", "mgr.c"}
        assert any("in_serve/module.py" in line for line in report["backtrace"])
    assert "SIGSEGV" in cluster.run("health", "detail").text
    listed = json.loads(cluster.run("mgr", "module", "ls", format="json").text)
    assert list(listed["quarantined_modules"]) == ["in_serve"]
    assert cluster.run("mgr", "module", "disable", "in_serve").retval == 0
    assert deaths(cluster, "SIGSEGV") == 3


def test_a_module_that_dies_at_import_costs_no_worker(start, folder):
    """It lies there, or is enabled: it is named, and works once it is mended and read again."""
    package = write(folder, "at_import", IMPORT)
    cluster = start(module_path=folder)

    cluster.settled(60)

    assert "its process: SIGILL" in cluster.run("mgr", "module", "ls").text
    refused = cluster.run("mgr", "module", "enable", "at_import")
    assert refused.retval != 0
    assert "SIGILL" in refused.stderr
    assert cluster.run("mgr", "module", "enable", "at_import", force=True).retval == 0
    wait_for(lambda: "SIGILL" in cluster.run("health", "detail").text, "the module in health")
    assert deaths(cluster, "SIGILL") == 0
    assert quarantined(cluster) == ""
    (package / "mended").touch()
    reloaded = cluster.run("mgr", "module", "reload", "at_import")
    assert reloaded.retval == 0, reloaded
    assert cluster.run("at_import", "ask").text == "mended"


def test_a_command_that_kills_each_worker_that_runs_it_is_stopped(start, folder):
    """A read is asked again wherever somebody leads: after three deaths it is not run."""
    write(folder, "in_command", COMMAND)
    cluster = start(module_path=folder)
    cluster.settled(60)
    cluster.enable("in_command")

    def ask():
        with contextlib.suppress(MgrError):
            cluster.run("in_command", "now", timeout_s=5)
        return quarantined(cluster)

    assert "in a command 'in_command now'" in wait_for(ask, "the quarantine", 60)
    with contextlib.suppress(MgrError):
        assert cluster.run("in_command", "now", timeout_s=5).retval != 0
    assert deaths(cluster, "SIGSEGV") == 3


def test_a_module_that_holds_the_interpreter_is_reported(start, folder):
    """The watchdog's kill becomes a report on the successor, with the module and its stack."""
    write(folder, "computes", COMPUTES)
    cluster = start(module_path=folder, watchdog_s=0.6)
    cluster.settled(60)
    cluster.enable("computes")

    with pytest.raises(MayHaveRunError):
        cluster.run("computes", "now", timeout_s=20)

    [report] = wait_for(lambda: reports(cluster), "the report", 60)
    assert report["mgr_signal"] == "watchdog"
    assert report["mgr_module"] == "computes"
    assert any("computes/module.py" in line for line in report["backtrace"])


def test_a_killed_worker_is_reported_and_accuses_nobody(start):
    """Whoever sent the signal: modules only served."""
    cluster = start()
    first = cluster.settled(60)

    first.signal(signal.SIGKILL, worker=True)

    [report] = wait_for(lambda: reports(cluster), "the report", 60)
    assert report["entity_name"] == f"mgr.{first.name}"
    assert report["mgr_signal"].startswith("SIGKILL")
    assert "mgr_module" not in report
    wait_for(lambda: "RECENT_CRASH" in cluster.run("health", "detail").text, "the warning")
    assert quarantined(cluster) == ""

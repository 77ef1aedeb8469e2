"""What a module raises becomes a crash report, wherever it was raised."""

import json
import threading
from dataclasses import replace

import pytest

from mgr.active.modules import crashes
from mgr.errors import FencedError
from mgr.host.crash import Crash, CrashOrigin
from mgr.module_api.module import MgrModule
from modules.crash.module import Module as CrashModule
from tests.support.clock import ManualClock
from tests.unit.active.conftest import discovered_module

PREFIX = "kv/mgr/crash/crash/"


class Faulty(MgrModule):
    """Raises where a test says."""

    NOTIFY_TYPES = ("health", "clog")
    raises_in = ""
    error = KeyError("inside")

    def _raise_in(self, place):
        if Faulty.raises_in == place:
            raise Faulty.error

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.stop = threading.Event()
        self._raise_in("constructor")

    def serve(self):
        self._raise_in("serve")
        self.stop.wait(10)

    def shutdown(self):
        self.stop.set()
        self._raise_in("shutdown")

    def notify(self, notify_type, notify_id):
        self._raise_in(notify_type)

    def config_notify(self):
        self._raise_in("config_notify")


@pytest.fixture(autouse=True)
def _well():
    yield
    Faulty.raises_in, Faulty.error = "", KeyError("inside")


def stored(cluster):
    """The reports among the entries of the crash module."""
    records = cluster.mirror.list(cluster.keys.root + PREFIX)
    return [json.loads(record.value) for record in records.values()]


@pytest.mark.parametrize(
    ("place", "caller"),
    [
        ("constructor", "ActivePyModule::load"),
        ("serve", "PyModuleRunner::serve"),
        ("health", "ActivePyModule::notify"),
        ("clog", "ActivePyModule::notify_clog"),
        ("shutdown", "PyModuleRunner::shutdown"),
    ],
)
async def test_an_exception_is_reported(active, place, caller):
    """In Ceph's words, with the line at fault; stored, where no crash module runs."""
    Faulty.raises_in = place
    async with active(discovered_module("faulty", Faulty), enabled=["faulty"]) as cluster:
        runner = cluster.role._modules._runners["faulty"]
        if place in {"health", "clog"}:
            runner.notify(place, "")
        if place == "shutdown":
            await cluster.switch("faulty", on=False)
        await cluster.until(lambda: stored(cluster))
        Faulty.raises_in = ""

        (report,) = stored(cluster)

    assert report["mgr_module_caller"] == caller
    assert report["mgr_module"] == "faulty"
    assert report["mgr_python_exception"] == "KeyError"
    assert report["entity_name"] == "mgr.a"
    assert report["backtrace"][-1] == "KeyError: 'inside'"
    assert any("_raise_in" in line for line in report["backtrace"])
    assert report["crash_id"].startswith(report["timestamp"])


async def test_a_config_notify_that_raises_is_not_reported(active):
    """As in Ceph, which tells nobody; it is in the log."""
    Faulty.raises_in = "config_notify"
    async with active(discovered_module("faulty", Faulty), enabled=["faulty"]) as cluster:
        runner = cluster.role._modules._runners["faulty"]
        runner.notify_config()
        await runner._queued_calls_done()
        await cluster.until(lambda: runner._delivery is None)

        Faulty.raises_in, Faulty.error = "health", ValueError("after it")
        runner.notify("health", "")
        await cluster.until(lambda: stored(cluster))

        assert [each["mgr_python_exception"] for each in stored(cluster)] == ["ValueError"]


async def test_that_the_term_is_over_is_no_fault_of_a_module(active):
    """Every write of every module raises it then."""
    Faulty.raises_in, Faulty.error = "serve", FencedError("k", term=1)
    async with active(discovered_module("faulty", Faulty), enabled=["faulty"]) as cluster:
        await cluster.until(lambda: cluster.role._modules.error_of("faulty"))

        assert cluster.role._crashes._waiting.empty()
        assert stored(cluster) == []


async def test_a_running_crash_module_is_posted_to(active):
    """It warns of it at once."""
    Faulty.raises_in = "constructor"
    found = [discovered_module("faulty", Faulty), discovered_module("crash", CrashModule)]
    async with active(*found, enabled=["faulty", "crash"]) as cluster:
        await cluster.until(lambda: "RECENT_MGR_MODULE_CRASH" in cluster.role._board.checks)

        (report,) = json.loads((await cluster.ask("crash", "ls", format="json")).stdout)
        shown = (await cluster.ask("crash", "info", report["crash_id"])).stdout

    assert report["mgr_module"] == "faulty"
    assert "stack_sig" in report
    assert json.loads(shown) == report


async def test_what_was_raised_at_the_import_is_reported_once_it_is_enabled(active):
    """Nobody minds a module that nobody wants."""
    crash = Crash.of("broken", CrashOrigin.IMPORT, ImportError("no such library"))
    broken = replace(discovered_module("broken", Faulty), active=None, error="no", crashes=(crash,))
    async with active(broken, enabled=[]) as cluster:
        assert stored(cluster) == []

        await cluster.switch("broken", on=True)
        await cluster.until(lambda: stored(cluster))

        (report,) = stored(cluster)
    assert report["mgr_module_caller"] == "PyModule::load_subclass_of"


async def test_a_fault_that_repeats_itself_is_reported_once_an_hour(active):
    """A module that fails for a year does not fill the store."""
    async with active(discovered_module("faulty", Faulty), enabled=[]) as cluster:
        clock = ManualClock()
        reports = crashes.CrashReporter(
            replace(cluster.manager, clock=clock), cluster.role._fenced, cluster.role.execute
        )

        def fault(name):
            return Crash.of("faulty", CrashOrigin.SERVE, KeyError(name))

        for name in ("a", "a", "b", "a"):
            reports.report(fault(name))
        assert reports._waiting.qsize() == 2

        clock.advance(crashes.REPEAT_AFTER_S + 1)
        reports.report(fault("a"))
        assert reports._waiting.qsize() == 3
        for number in range(2 * crashes.WAITING_MAX):
            reports.report(fault(str(number)))
        assert reports._waiting.qsize() == crashes.WAITING_MAX


def test_a_report_fits_into_an_entry():
    """However deep the recursion, and however long what it said."""

    def deep(left):
        if not left:
            raise ValueError("x" * 100_000)
        deep(left - 1)

    try:
        deep(400)
    except ValueError as error:
        crash = Crash.of("m", CrashOrigin.SERVE, error)

    assert len(json.dumps(crash.report("mgr.a", "1"))) < 60_000
    assert "deep" in "".join(crash.backtrace)

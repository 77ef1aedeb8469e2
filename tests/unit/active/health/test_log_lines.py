"""Health in the cluster log: a line for each check that is raised, changed or cleared."""

import asyncio

import pytest

from mgr.active.health.log_lines import NAMED_MAX, UPDATE_EVERY_S, HealthLog
from mgr.cluster.log import ClusterLog
from mgr.health.board import MANAGER_SOURCE, Board
from mgr.health.check import Check, Severity
from mgr.module_api.module import MgrModule
from mgr.testing.clock import ManualClock
from tests.unit.active.conftest import discovered_module

DISK = Check(code="DISK", severity=Severity.WARN, summary="disk is old")
WORSE = Check(code="DISK", severity=Severity.ERR, summary="disk is broken")
FAN = Check(code="FAN", severity=Severity.ERR, summary="fan\nstands still")


class Logged:
    """A board and its log."""

    def __init__(self):
        self.board, self.log, self.clock = Board(), ClusterLog(), ManualClock()
        self.health_log = HealthLog(self.board, self.log, self.clock, name="mgr.a")

    def lines(self):
        """Write what has changed; return every line so far."""
        self.health_log.write()
        return [f"[{entry.priority.tag}] {entry.message}" for entry in self.log.last(1000)]


@pytest.fixture
async def logged():
    found = Logged()
    found.health_log.follow()
    return found


async def test_a_check_that_is_raised_changed_and_cleared_is_three_lines(logged):
    """With Ceph's words, and one more once nothing is wrong."""
    for checks in ([DISK, FAN], [WORSE, FAN], [FAN], []):
        logged.board.set("one", checks)
        logged.lines()

    assert logged.lines() == [
        "[WRN] Health check failed: disk is old (DISK)",
        "[ERR] Health check failed: fan stands still (FAN)",
        "[ERR] Health check update: disk is broken (DISK)",
        "[INF] Health check cleared: DISK (was: disk is broken)",
        "[INF] Health check cleared: FAN (was: fan stands still)",
        "[INF] Cluster is now healthy",
    ]


async def test_a_check_that_changes_all_the_time_is_logged_now_and_then(logged):
    """Its last state is not lost."""
    for number in range(100):
        changed = Check(code="DISK", severity=Severity.WARN, summary=f"{number} disks")
        logged.board.set("one", [changed])
        logged.lines()
    before = logged.lines()
    logged.clock.advance(UPDATE_EVERY_S)

    assert before == [
        "[WRN] Health check failed: 0 disks (DISK)",
        "[WRN] Health check update: 1 disks (DISK)",
    ]
    assert logged.lines()[-1] == "[WRN] Health check update: 99 disks (DISK)"


async def test_a_great_many_checks_do_not_displace_every_other_line(logged):
    """The rest is counted."""
    many = [
        Check(code=f"C{number}", severity=Severity.WARN, summary="s")
        for number in range(NAMED_MAX + 7)
    ]
    logged.board.set("one", many)

    assert len(logged.lines()) == NAMED_MAX + 1
    assert logged.lines()[-1].startswith("[WRN] 7 more health checks changed")


async def test_what_the_last_term_logged_is_not_logged_again():
    """A restored check; the manager's own are of this term."""
    logged = Logged()
    logged.board.restore("one", [DISK])
    logged.board.set(MANAGER_SOURCE, [FAN])
    logged.health_log.follow()

    assert logged.lines() == ["[ERR] Health check failed: fan stands still (FAN)"]
    logged.board.set("one", [])
    assert logged.lines()[-1] == "[INF] Health check cleared: DISK (was: disk is old)"


async def test_nothing_is_logged_of_checks_that_go_because_the_term_ends(logged):
    """The modules stop and clear them; the problems are still there."""
    logged.board.set("one", [DISK])
    logged.health_log.close()
    logged.board.clear("one")
    async with asyncio.timeout(5):
        await logged.health_log.run()

    assert [entry.message for entry in logged.log.last(10)] == [
        "Health check failed: disk is old (DISK)"
    ]


class Listener(MgrModule):
    """Raises a check and hears the cluster log."""

    NOTIFY_TYPES = ("clog",)

    def __init__(self, *args):
        super().__init__(*args)
        self.heard = []

    def notify(self, _kind, entry):
        self.heard.append((entry["channel"], entry["priority"], entry["message"]))


async def test_a_module_hears_of_health_by_its_clog_notifications(active):
    """Its own checks, another module's, and the manager's."""
    async with active(discovered_module("listener", Listener), enabled=["listener"]) as cluster:
        module = cluster.role._modules.instance_of("listener")
        check = {"severity": "warning", "summary": "odd", "count": 1, "detail": []}
        await asyncio.to_thread(module.set_health_checks, {"ODD": check})
        line = ("cluster", "[WRN]", "Health check failed: odd (ODD)")
        await cluster.until(lambda: line in module.heard)
        codes = cluster.role._board.checks

        assert set(codes) == {"ODD", "MGR_NO_STANDBY"}
        assert any("(MGR_NO_STANDBY)" in message for _, _, message in module.heard)

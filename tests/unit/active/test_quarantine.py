"""A quarantined module does not run, is named, and runs again once it is released."""

from __future__ import annotations

import json
import threading

import pytest

from mgr.clock import utc_now
from mgr.config.worker_deaths import ModuleDeath, encode
from mgr.errors import ModuleFailedError
from mgr.module_api.module import MgrModule
from modules.crash.module import Module as CrashModule
from tests.unit.active.conftest import command_table, discovered_module

CODE = "MGR_MODULE_QUARANTINED"


class Bad(MgrModule):
    """A module that would kill its worker."""

    COMMANDS = command_table("bad say")

    def __init__(self, *args):
        super().__init__(*args)
        self.stop = threading.Event()

    def serve(self):
        self.stop.wait(10)

    def shutdown(self):
        self.stop.set()

    def handle_command(self, _inbuf, _cmd):
        return 0, "here", ""


def death(number):
    """One death, as a guard writes it: its key without the root, and its value."""
    record = ModuleDeath(manager="b", how="SIGSEGV", during="in serve()", at=f"2026-01-0{number}")
    return f"module_deaths/bad/{number}", encode(record)


DEATHS = dict(map(death, (1, 2, 3)))


def runs(cluster):
    """The modules that have an instance."""
    return set(cluster.role._modules._instances)


@pytest.fixture
def found():
    return discovered_module("bad", Bad)


async def test_a_module_of_three_deaths_is_not_started(active, found):
    """The manager leads without it; health says which, why and how it is released."""
    async with active(found, enabled=["bad"], stored=DEATHS) as cluster:
        assert cluster.role.state == "active"
        assert runs(cluster) == set()
        checks = await cluster.health()
        with pytest.raises(ModuleFailedError, match="killed 3 workers by SIGSEGV in serve"):
            await cluster.ask("bad", "say")
        listed = json.loads((await cluster.ask("mgr", "module", "ls", format="json")).stdout)

    assert "MGR_MODULE_ERROR" not in checks
    assert checks[CODE]["severity"] == "HEALTH_ERR"
    [line] = checks[CODE]["detail"]
    assert "Module 'bad' is quarantined: killed 3 workers by SIGSEGV in serve()" in line["message"]
    assert "mgrctl mgr module release bad" in line["message"]
    assert list(listed["quarantined_modules"]) == ["bad"]


async def test_two_deaths_hold_nothing_back(active, found):
    """And health says nothing."""
    stored = dict(list(DEATHS.items())[:2])
    async with active(found, enabled=["bad"], stored=stored) as cluster:
        assert runs(cluster) == {"bad"}
        assert CODE not in await cluster.health()


async def test_a_running_module_that_becomes_quarantined_is_stopped(active, found):
    """Like one that is disabled: another manager's worker died the third time."""
    async with active(found, enabled=["bad"]) as cluster:
        assert runs(cluster) == {"bad"}

        for key, value in DEATHS.items():
            await cluster.put(cluster.keys.root + key, value)

        await cluster.until(lambda: not runs(cluster))
        await cluster.until(lambda: CODE in cluster.role._board.checks)


async def test_it_is_quarantined_by_hand_and_enabling_says_so(active, found):
    """A warning while it is not enabled; done twice, it is said."""
    async with active(found) as cluster:
        assert (await cluster.ask("mgr", "module", "quarantine", "bad")).retval == 0
        again = await cluster.ask("mgr", "module", "quarantine", "bad")
        assert "quarantined already: quarantined by hand since 2" in again.stderr
        assert (await cluster.health())[CODE]["severity"] == "HEALTH_WARN"

        enabled = await cluster.ask("mgr", "module", "enable", "bad")

        assert "enabled and not started yet: quarantined by hand" in enabled.stderr
        await cluster.until(lambda: "bad" in cluster.role._modules.enabled)
        assert runs(cluster) == set()
        reloaded = await cluster.ask("mgr", "module", "reload", "bad")
        assert reloaded.retval != 0
        assert "was not reloaded: quarantined by hand" in reloaded.stderr


async def test_a_released_module_runs_again_and_its_deaths_are_forgotten(active, found):
    """Its files are imported again; what there is no folder for says so."""
    async with active(found, enabled=["bad"], stored=DEATHS) as cluster:
        answer = await cluster.ask("mgr", "module", "release", "bad")

        assert answer.retval == 0
        assert "module 'bad' is released" in answer.stderr
        assert cluster.mirror.list(cluster.keys.module_deaths) == {}
        await cluster.until(lambda: runs(cluster) == {"bad"})
        assert CODE not in await cluster.health()
        again = await cluster.ask("mgr", "module", "release", "bad")
        assert (again.retval, again.stderr) == (0, "module 'bad' is not quarantined")


async def test_what_a_guard_could_not_store_counts_as_well(active, found):
    """It told its worker."""
    async with active(found, start=False) as cluster:
        object.__setattr__(cluster.manager, "unstored_quarantines", {"bad": "quarantined: x"})
        await cluster.switch("bad", on=True)
        await cluster.until(lambda: "bad" in cluster.role._modules.enabled)

        assert runs(cluster) == set()
        await cluster.until(lambda: CODE in cluster.role._board.checks)


async def test_a_record_that_cannot_be_read_holds_back(active, found):
    """Somebody wanted it; deaths that cannot be read are none."""
    garbage = {"quarantine/bad": "{", **dict.fromkeys(DEATHS, "[]")}
    async with active(found, enabled=["bad"], stored=garbage) as cluster:
        assert runs(cluster) == set()
        assert (await cluster.ask("mgr", "module", "release", "bad")).retval == 0
        await cluster.until(lambda: runs(cluster) == {"bad"})


def report(number, **more):
    """One report of a worker, as a guard stores it."""
    name = f"{utc_now():%Y-%m-%dT%H:%M:%S.%fZ}_{number}"
    fields = {"crash_id": name, "timestamp": name.partition("_")[0], "entity_name": "mgr.b"}
    return f"worker_crashes/b/{name}", json.dumps({**fields, "mgr_signal": "SIGSEGV", **more})


async def test_each_report_of_a_worker_is_posted_once(active):
    """Those that are there, those that come, and none a second time under its id."""
    crash = discovered_module("crash", CrashModule)
    first, second = report(1, mgr_module="bad"), report(2)
    async with active(crash, enabled=["crash"], stored=dict([first])) as cluster:
        prefix = cluster.keys.worker_crashes
        await cluster.until(lambda: not cluster.mirror.list(prefix))
        for key, value in (second, first, ("worker_crashes/b/x", "garbage")):
            await cluster.put(cluster.keys.root + key, value)
        await cluster.until(lambda: not cluster.mirror.list(prefix))

        listed = json.loads((await cluster.ask("crash", "ls", format="json")).stdout)
        await cluster.until(lambda: "RECENT_CRASH" in cluster.role._board.checks)
        lines = [
            line["message"]
            for code, check in (await cluster.health()).items()
            for line in check["detail"]
            if code.startswith("RECENT")
        ]

    assert sorted(one["crash_id"][-1] for one in listed) == ["1", "2"]
    assert any("mgr module bad" in line and "SIGSEGV" in line for line in lines)
    assert any("mgr.b" in line and "SIGSEGV" in line for line in lines)

"""A manager that runs and could not take over is no standby: not counted, and named."""

import json

import pytest
from msgspec import structs

from mgr.active.health import checks
from mgr.election.records import encode
from mgr.link import ModuleReport
from tests.unit.active.test_reach import PRESENCE


@pytest.fixture
def no_grace(monkeypatch):
    monkeypatch.setattr(checks, "STANDBY_GRACE_S", 0.0)
    monkeypatch.setattr(checks, "STORE_CHECK_EVERY_S", 0.01)


async def join(cluster, name, *, warm, incarnation="i"):
    record = structs.replace(PRESENCE, name=name, warm=warm, incarnation=incarnation)
    await cluster.put(cluster.keys.manager(name), encode(record))


async def test_a_standby_instance_that_failed_is_named(active):
    """With its manager, module and error, until that manager reports it as well again."""
    async with active() as cluster:
        failed = ModuleReport(name="web", can_run=True, standby_error="RuntimeError: no port free")
        for name in ("a", "b"):  # the active's own record may still have one
            record = structs.replace(PRESENCE, name=name, warm=True, modules=(failed,))
            await cluster.put(cluster.keys.manager(name), encode(record))
        check = (await cluster.health())["MGR_STANDBY_MODULE_ERROR"]
        await join(cluster, "b", warm=True)
        after = await cluster.health()

    assert check["severity"] == "HEALTH_WARN"
    assert check["summary"]["message"] == (
        "The standby instance of module 'web' on mgr.b has failed: RuntimeError: no port free"
    )
    assert "MGR_STANDBY_MODULE_ERROR" not in after


async def standbys(cluster):
    status = json.loads((await cluster.ask("status", format="json")).stdout)["mgrmap"]
    stat = json.loads((await cluster.ask("mgr", "stat", format="json")).stdout)
    assert len(status["standbys"]) == status["num_standbys"] == stat["num_standby"]
    return status["standbys"]


async def test_a_manager_whose_worker_does_not_start_is_named_and_not_counted(active, no_grace):
    """Until it has become a standby."""
    async with active() as cluster:
        await join(cluster, "b", warm=True)
        await join(cluster, "c", warm=False)
        await cluster.until(lambda: cluster.role._checks._not_standby == {"c"})

        check = (await cluster.health())["MGR_NOT_STANDBY"]
        assert check["summary"]["message"].startswith("mgr.c runs and is no standby")
        assert await standbys(cluster) == ["b"]

        await join(cluster, "c", warm=True)
        await cluster.until(lambda: not cluster.role._checks._not_standby)
        assert "MGR_NOT_STANDBY" not in await cluster.health()
        assert await standbys(cluster) == ["b", "c"]


async def test_a_manager_that_starts_is_not_named_at_once(active, monkeypatch):
    """It takes a second or two; it is no standby meanwhile."""
    monkeypatch.setattr(checks, "STORE_CHECK_EVERY_S", 0.01)
    async with active() as cluster:
        await join(cluster, "b", warm=False)
        await cluster.until(lambda: "b" in cluster.role._checks._not_standby_since)

        health = await cluster.health()
        assert "MGR_NOT_STANDBY" not in health
        assert "MGR_NO_STANDBY" in health
        assert await standbys(cluster) == []


async def test_a_worker_that_is_started_again_and_again_does_not_reset_the_time(active):
    """The manager counts, not its worker: each has an incarnation of its own."""
    async with active() as cluster:
        seen = cluster.role._checks
        await join(cluster, "b", warm=False)
        seen._overdue_standbys()
        before = dict(seen._not_standby_since)

        await join(cluster, "b", warm=False, incarnation="another")

        seen._overdue_standbys()
        assert seen._not_standby_since == before

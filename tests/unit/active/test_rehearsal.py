"""A role that is made and thrown away: a standby does it once, so that a failover is quicker."""

import asyncio
import gc
import threading
import weakref

from mgr.active.role import ActiveRole, Office
from mgr.argument import descriptor
from tests.unit.active.conftest import described
from tests.unit.active.probe import Probe


async def test_a_role_that_is_made_and_not_started_leaves_no_trace(active):
    """Nothing is written, followed or running because of it, and nothing keeps it."""
    async with active(described("probe", Probe), enabled=["probe"]) as cluster:
        nobody = Office(
            term=0,
            lease=0,
            http_address="10.0.0.1:7480",
            gate=cluster.gate,
            resign=lambda why, to: cluster.resigned.append((why, to)),
            fenced=cluster.fenced.append,
        )
        found = [cluster.mirror.revision, cluster.mirror._subscribers[:], asyncio.all_tasks()]
        threads = threading.enumerate()
        made = weakref.ref(ActiveRole(cluster.manager, nobody, cluster.tasks))
        await asyncio.sleep(0)
        gc.collect()
        left = [cluster.mirror.revision, cluster.mirror._subscribers[:], asyncio.all_tasks()]

        assert made() is None
        assert left == found
        assert threading.enumerate() == threads
        assert cluster.resigned == cluster.fenced == []


async def test_what_was_parsed_for_one_role_is_there_for_the_next(active):
    """That is what the first one is made for."""
    async with active(described("probe", Probe)) as cluster:
        before = descriptor._parse.cache_info()
        ActiveRole(cluster.manager, cluster.role._office, cluster.tasks)
        after = descriptor._parse.cache_info()

    assert after.misses == before.misses
    assert after.hits > before.hits

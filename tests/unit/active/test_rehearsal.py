"""A role that is made and thrown away: a standby does it once, so that a failover is quicker."""

import gc
import threading
import weakref

import pytest

from mgr.active.role import ActiveRole
from mgr.active.term_context import TermContext
from mgr.argument import descriptor
from tests.unit.active.conftest import discovered_module
from tests.unit.active.probe import Probe


class NoTasks:
    """A task group in which nothing may begin."""

    def create_task(self, work, **_):
        work.close()
        pytest.fail("a role that was not started began something")


async def test_a_role_that_is_made_and_not_started_leaves_no_trace(active):
    """Nothing follows, waits or runs because of it, and nothing keeps it."""
    async with active(discovered_module("probe", Probe), enabled=["probe"]) as cluster:
        nobody = TermContext(
            term=0,
            lease=0,
            http_address="10.0.0.1:7480",
            gate=cluster.gate,
            resign=lambda why, to, _by: cluster.resigned.append((why, to)),
            on_fenced=cluster.fenced.append,
        )
        followers, threads = cluster.mirror._subscribers[:], threading.active_count()
        made = weakref.ref(ActiveRole(cluster.manager, nobody, NoTasks()))
        gc.collect()

        assert made() is None
        assert cluster.mirror._subscribers == followers
        assert threading.active_count() <= threads
        assert cluster.resigned == cluster.fenced == []


async def test_what_was_made_of_commands_for_one_role_is_there_for_the_next(active):
    """That is what the first one is made for: nothing is parsed and no index is made again."""
    async with active(discovered_module("probe", Probe), enabled=["probe"]) as cluster:
        term_context = cluster.role._term_context
        index, before = term_context.commands.registry._index, descriptor._parse.cache_info()
        ActiveRole(cluster.manager, term_context, NoTasks())

        assert term_context.commands.registry._index is index
        assert descriptor._parse.cache_info().misses == before.misses

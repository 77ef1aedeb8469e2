"""``tell`` on the active."""

import errno

import pytest

from mgr.errors import InvalidArgumentError


async def test_the_active_does_what_it_is_told_by_name(active):
    """As if it had been asked without one."""
    async with active() as cluster:
        by_name = await cluster.ask("tell", "mgr.a", "mgr", "stat")
        plain = await cluster.ask("mgr", "stat")
        shown = await cluster.ask("tell", "mgr", "config", "get", "mgr_tick_period")

    assert by_name == plain
    assert shown.stdout == "2\n"


async def test_what_another_manager_is_told_is_not_done(active):
    """It has no office; the answer says who has it."""
    async with active() as cluster:
        answer = await cluster.ask("tell", "mgr.b", "mgr", "set", "down", "true")
        with pytest.raises(InvalidArgumentError):
            await cluster.ask("tell", "osd", "status")

        assert cluster.mirror.get(cluster.keys.down) is None
    assert answer.retval == -errno.ENXIO
    assert answer.stderr == "mgr.b is not the active manager, mgr.a is"

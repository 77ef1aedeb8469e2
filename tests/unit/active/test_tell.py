"""``tell`` on the active."""

import errno

import pytest
from msgspec.structs import replace

from mgr.command.dispatch import Request
from mgr.errors import InvalidArgumentError, MayHaveRunError


async def test_the_active_executes_a_command_sent_to_its_name(active):
    """As if it had been asked without one."""
    async with active() as cluster:
        by_name = await cluster.ask("tell", "mgr.a", "mgr", "stat")
        plain = await cluster.ask("mgr", "stat")
        shown = await cluster.ask("tell", "mgr", "config", "get", "mgr_tick_period")

    assert by_name == plain
    assert shown.stdout == "2\n"


async def test_a_command_for_another_manager_is_not_executed(active):
    """It is not the active; the answer names the active."""
    async with active() as cluster:
        answer = await cluster.ask("tell", "mgr.b", "mgr", "set", "down", "true")
        with pytest.raises(InvalidArgumentError):
            await cluster.ask("tell", "osd", "status")

        assert cluster.mirror.get(cluster.keys.down) is None
    assert answer.retval == -errno.ENXIO
    assert answer.stderr == "mgr.b is not the active manager, mgr.a is"


async def test_a_retry_for_a_manager_that_led_is_not_answered_as_if_nothing_ran(active):
    """Applied by `mgr.b` while that one led; its answer was lost, and `mgr.a` leads by now."""
    words = ("config", "set", "mgr", "mgr/probe/place", "Rome")
    async with active() as cluster:
        applied = Request(words=words, arguments={"force": True}, request_id="r-1")
        await cluster.role.execute(applied)
        retry = replace(applied, words=("tell", "mgr.b", *words))
        with pytest.raises(MayHaveRunError, match="ran in term"):
            await cluster.role.execute(retry)
        other = await cluster.role.execute(replace(retry, request_id="r-2"))

    assert other.retval == -errno.ENXIO

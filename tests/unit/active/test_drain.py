"""How long a hand-over may take, whatever goes wrong in it."""

import asyncio
import threading

from mgr.active.health.store import LAST_WRITE_S
from mgr.active.modules.service_addresses import WITHDRAW_S
from mgr.clock import CLOCK
from mgr.errors import StoreUnavailableError
from mgr.guard.actions import DRAIN_SLACK_S
from mgr.health.check import Check, Severity
from mgr.module_api.module import MgrModule
from tests.unit.active.conftest import discovered_module

BUDGET_S = 0.6
DISK = Check(code="DISK", severity=Severity.WARN, summary="disk is old", count=1)


async def test_the_worst_drain_ends_before_the_guards_patience(active):
    """A store that is silent and a module that never stops, together: the guard waits for it."""
    never = threading.Event()

    class Stubborn(MgrModule):
        def serve(self):
            never.wait()

    async def silent(*_, timeout_s, **__):
        await asyncio.sleep(timeout_s)
        raise StoreUnavailableError("silent")

    async with active(discovered_module("stubborn", Stubborn), enabled=["stubborn"]) as cluster:
        service = cluster.keys.service("stubborn")
        await cluster.role._fenced.put(service, "http://x", cluster.lease)
        answering, cluster.store.commit = cluster.store.commit, silent
        cluster.role._board.set("stubborn", [DISK])
        cluster.gate.drain()
        began_s = CLOCK.now()
        assert await cluster.role.drain(BUDGET_S) is False
        took_s = CLOCK.now() - began_s
        never.set()
        cluster.store.commit = answering

    assert took_s < BUDGET_S + WITHDRAW_S + 0.2
    assert BUDGET_S + WITHDRAW_S + 0.2 < BUDGET_S + DRAIN_SLACK_S
    # Without its being counted, this would come on top.
    assert LAST_WRITE_S > 0.2

"""What the active knows of modules that act outside the store, and what it does before they do."""

from __future__ import annotations

import asyncio
import json
import threading

import pytest

from mgr.clock import CLOCK
from mgr.module_api.module import MgrModule
from tests.unit.active.conftest import discovered_module
from tests.unit.active.test_second_gate import module, pair

EFFECTS_DELAY_S = 0.3


def modules_of(cluster):
    return cluster.role._modules


@pytest.mark.parametrize(
    ("enabled", "outside"), [([], False), (["store"], False), (["external", "store"], True)]
)
async def test_acts_outside_is_true_while_an_external_module_is_on_the_books(
    active, enabled, outside
):
    """None, one that only writes to the store, one that acts elsewhere."""
    _, found = pair()
    async with active(*found, enabled=enabled) as cluster:
        assert modules_of(cluster).acts_outside is outside
        await cluster.switch("external", on=False)
        await cluster.until(lambda: not modules_of(cluster).acts_outside)


async def test_a_module_that_reads_and_serves_acts_nowhere(active):
    """``EFFECTS = "none"``."""
    async with active(discovered_module("none", module("none")), enabled=["none"]) as cluster:
        assert modules_of(cluster).acts_outside is False


async def test_an_external_module_that_did_not_stop_still_acts_outside(active):
    """Until its threads have ended."""
    never = threading.Event()

    class Stubborn(MgrModule):
        def serve(self):
            never.wait()

    found = discovered_module("stubborn", Stubborn)
    async with active(found, enabled=["stubborn"], drain_s=0.05) as cluster:
        modules = modules_of(cluster)
        await cluster.switch("stubborn", on=False)
        await cluster.until(lambda: not modules._runners)
        assert modules.acts_outside
        never.set()
        await cluster.until(lambda: not modules.acts_outside)


async def test_what_is_to_be_done_before_outside_effects_is_done_before_the_constructor(active):
    """And awaited; nothing is done for a module that acts inside."""
    (inside, outside), found = pair()
    asked, go = asyncio.Event(), asyncio.Event()

    async def arm():
        asked.set()
        await go.wait()

    async with active(*found, start=False) as cluster:
        modules = modules_of(cluster)
        modules.outside.before_start = arm
        await cluster.switch("store", on=True)
        await cluster.until(lambda: inside.made_s)
        assert not asked.is_set()

        await cluster.switch("external", on=True)
        async with asyncio.timeout(5):
            await asked.wait()
        assert modules.acts_outside
        assert not outside.made_s
        go.set()
        await cluster.until(lambda: outside.made_s)


async def test_a_module_can_be_stopped_while_that_is_awaited(active):
    """It is never made."""
    (_, outside), found = pair()
    go = asyncio.Event()
    async with active(*found, start=False) as cluster:
        modules = modules_of(cluster)
        modules.outside.before_start = go.wait
        await cluster.switch("external", on=True)
        await cluster.until(lambda: modules_of(cluster).acts_outside)
        await cluster.switch("external", on=False)
        go.set()
        await cluster.until(lambda: not modules_of(cluster).acts_outside)
    assert not outside.made_s


async def test_the_operator_declares_a_module_internal(active):
    """Then it begins at once, though an earlier active may still act."""
    (_, outside), found = pair()
    stored = {"config/mgr/mgr_module_effects": "external=none"}
    async with active(*found, enabled=["external"], stored=stored, effects_delay_s=60.0) as cluster:
        assert outside.made_s
        assert modules_of(cluster).acts_outside is False
        listed = json.loads((await cluster.ask("mgr", "module", "ls", format="json")).stdout)
    assert listed["module_effects"]["external"] == {"effects": "none", "source": "operator"}
    assert listed["module_effects"]["store"] == {"effects": "store", "source": "module"}


async def test_the_operator_declares_a_module_external(active):
    """Whatever it says of itself: it waits for the moment."""
    (inside, _), found = pair()
    stored = {"config/mgr/mgr_module_effects": "store=external"}
    began_s = CLOCK.now()
    async with active(
        *found, enabled=["store"], stored=stored, effects_delay_s=EFFECTS_DELAY_S
    ) as cluster:
        assert not inside.made_s
        await cluster.until(lambda: inside.made_s)
    assert inside.made_s[0] >= began_s + EFFECTS_DELAY_S


async def test_a_running_module_counts_as_external_once_the_operator_declares_it(active):
    """The other way round it counts until it has ended."""
    _, found = pair()
    async with active(*found, enabled=["store", "external"]) as cluster:
        modules, key = modules_of(cluster), cluster.keys.option("mgr", "mgr_module_effects")
        await cluster.put(key, "external=none")
        assert modules.acts_outside
        await cluster.switch("external", on=False)
        await cluster.until(lambda: not modules.acts_outside)
        await cluster.put(key, "store=external")
        assert modules.acts_outside

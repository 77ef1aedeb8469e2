"""A module that acts outside the store begins when no earlier active can act any more."""

from __future__ import annotations

import asyncio

import pytest

from mgr.clock import CLOCK
from mgr.errors import ModuleNotReadyError
from mgr.host.lifecycle import Phase
from mgr.module_api.module import MgrModule
from tests.unit.active.conftest import command_table, discovered_module

EFFECTS_DELAY_S = 0.4
LONG_S = 60.0


def module(effects):
    """A module that notes when it was made, and can be asked."""

    class Noted(MgrModule):
        EFFECTS = effects
        COMMANDS = command_table(f"{effects} say")
        made_s: list[float] = []  # noqa: RUF012 - the test reads it

        def __init__(self, *args):
            super().__init__(*args)
            self.made_s.append(CLOCK.now())

        def handle_command(self, _inbuf, _cmd):
            return 0, "here", ""

    return Noted


def pair():
    """Both kinds, and what the finder would say of them."""
    kinds = [module("store"), module("external")]
    return kinds, [discovered_module(kind.EFFECTS, kind) for kind in kinds]


async def test_what_acts_outside_waits_and_nothing_else_does(active):
    """Commands to it are held, not refused; the manager is active meanwhile."""
    (inside, outside), found = pair()
    began_s = CLOCK.now()
    async with active(
        *found, enabled=["store", "external"], effects_delay_s=EFFECTS_DELAY_S
    ) as cluster:
        assert cluster.role.state == "active"
        assert (await cluster.ask("store", "say")).stdout == "here"
        assert not outside.made_s
        answer = await cluster.ask("external", "say")

    assert answer.stdout == "here"
    assert outside.made_s[0] >= began_s + EFFECTS_DELAY_S
    assert inside.made_s[0] < outside.made_s[0]


async def test_a_certified_end_lets_everything_begin_at_once(active):
    """The moment is over when the term begins: everything is there when the start is done."""
    (_, outside), found = pair()

    async with active(*found, enabled=["store", "external"]):
        assert outside.made_s


async def test_a_held_module_can_be_stopped(active):
    """It was never made, so there is nothing to wait for, and it is not made later."""
    (_, outside), found = pair()
    async with active(*found, enabled=["external"], effects_delay_s=EFFECTS_DELAY_S) as cluster:
        runner = cluster.role._modules._runners["external"]
        assert await cluster.role.drain(0.5)
        await asyncio.sleep(1.5 * EFFECTS_DELAY_S)

    assert runner.phase is Phase.STOPPED
    assert not outside.made_s


async def test_a_held_module_is_no_late_one(active):
    """Nothing is reported: it waits, it does not hang."""
    _, found = pair()
    made = active(*found, enabled=["external"], effects_delay_s=LONG_S, module_load_s=0.05)
    async with made as cluster:
        await asyncio.sleep(0.15)

        assert cluster.role._modules.error_of("external") == ""
        with pytest.raises(ModuleNotReadyError):
            await cluster.ask("external", "say")

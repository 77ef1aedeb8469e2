"""A module that stops and leaves a thread of its own behind: its term is not certified."""

from __future__ import annotations

import threading

import pytest

from mgr.module_api.module import MgrModule
from tests.unit.active.conftest import described


class Case:
    """The module ``pool``: its constructor starts a thread that nothing ends."""

    def __init__(self):
        self.never = threading.Event()
        case = self

        class Pool(MgrModule):
            def __init__(self, *args):
                super().__init__(*args)
                threading.Thread(target=case.never.wait, name="forgotten", daemon=True).start()

        class Kept(Pool):
            EFFECTS = "store"

        self.external = described("pool", Pool)
        self.internal = described("pool", Kept)


@pytest.fixture
def case():
    made = Case()
    yield made
    made.never.set()


async def test_a_thread_that_a_module_left_is_no_quiesced_drain(active, case, caplog):
    """The module did stop; what it started may act outside all the same."""
    async with active(case.external, enabled=["pool"], drain_s=0.1) as cluster:
        await cluster.until(lambda: cluster.role._modules.instance_of("pool"))

        assert await cluster.role.drain(1.0) is False

    assert "threads that modules started did not stop" in caplog.text


async def test_a_thread_of_a_module_that_acts_in_the_store_alone_harms_nobody(active, case):
    """The store judges what it writes."""
    async with active(case.internal, enabled=["pool"], drain_s=0.1) as cluster:
        await cluster.until(lambda: cluster.role._modules.instance_of("pool"))

        assert await cluster.role.drain(1.0) is True


async def test_threads_of_the_host_are_not_taken_for_a_modules(active, case):
    """Those of commands and of serve, and the pool of the event loop."""
    case.never.set()
    async with active(case.external, enabled=["pool"], drain_s=0.1) as cluster:
        await cluster.until(lambda: cluster.role._modules.instance_of("pool"))
        await cluster.until(lambda: "forgotten" not in {t.name for t in threading.enumerate()})

        assert await cluster.role.drain(1.0) is True

"""When streams end: by the clock, by a newer term, and not by a pause."""

from __future__ import annotations

import asyncio

import pytest

from mgr.clock import CLOCK
from mgr.errors import NotActiveError
from mgr.rpc.gated import GatedStreams
from mgr.worker.gate import Gate

GRACE_S = 0.05


@pytest.fixture
def gate():
    return Gate(CLOCK, lambda: None)


@pytest.fixture
def streams(gate):
    return GatedStreams(gate, CLOCK, grace_s=GRACE_S)


async def stream(streams, begun):
    """One that lasts as long as it may."""
    with streams.endable():
        begun.set()
        await asyncio.Event().wait()


async def ended(streams, begun):
    """The error with which a stream ends."""
    try:
        await stream(streams, begun)
    except NotActiveError as error:
        return error
    raise AssertionError("a stream that lasts for ever")


async def test_a_stream_ends_by_the_clock_alone(gate, streams):
    """Nobody calls: the guard may be as silent as etcd."""
    gate.extend(5, CLOCK.now() + GRACE_S)
    begun_s = CLOCK.now()

    await ended(streams, asyncio.Event())

    assert CLOCK.now() - begun_s >= 2 * GRACE_S


async def test_proofs_keep_a_stream_open(gate, streams):
    """Each moves the moment at which it would end."""
    begun = asyncio.Event()
    gate.extend(5, CLOCK.now() + GRACE_S)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(ended(streams, begun))
        await begun.wait()
        gate.extend(5, CLOCK.now() + 3600)
        await asyncio.wait([task], timeout=4 * GRACE_S)
        assert not task.done()
        gate.end("over")


async def test_the_end_of_a_term_ends_every_stream_at_once(gate, streams):
    """Streams are ended in one turn of the loop, however many.

    Two hundred: in the loop's debug mode a thousand tasks take half a second to make.
    """
    gate.extend(5, CLOCK.now() + 3600)
    async with asyncio.TaskGroup() as tasks:
        begun_events = [asyncio.Event() for _ in range(200)]
        open_streams = [tasks.create_task(ended(streams, begun)) for begun in begun_events]
        for begun in begun_events:
            await begun.wait()
        gate.end("over")

    assert all(isinstance(each.result(), NotActiveError) for each in open_streams)


async def test_a_stream_that_its_client_cancels_is_not_refused(gate, streams):
    """Else the server would take its going away for an answer that it owes."""
    gate.extend(5, CLOCK.now() + 3600)
    begun = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(stream(streams, begun))
        await begun.wait()
        task.cancel()

    assert task.cancelled()


async def test_a_manager_that_never_led_has_no_stream_to_end(streams):
    """Its role refuses, and names whoever leads; sessions stay, for what a standby may do."""
    begun = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(stream(streams, begun))
        await asyncio.wait([task], timeout=4 * GRACE_S)
        assert begun.is_set()
        assert not task.done()
        task.cancel()


async def test_no_stream_begins_once_the_grace_is_over(gate, streams):
    """A client that was just sent away would come back at once."""
    gate.extend(5, CLOCK.now() - 2 * GRACE_S)

    with pytest.raises(NotActiveError):
        await stream(streams, asyncio.Event())

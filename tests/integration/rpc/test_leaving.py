"""A daemon that leaves for good gets the acknowledgement once the store has its removal."""

from __future__ import annotations

import asyncio

import pytest

from mgr.errors import OutcomeUnknownError
from mgr.rpc.v1 import cluster_pb2 as pb
from tests.integration.rpc.cluster import until

pytestmark = pytest.mark.slow  # real servers


async def test_the_end_of_a_stream_waits_for_the_store(fleet, stub):
    """Its manager is killed right before: the successor still knows the daemon."""
    go, asked = asyncio.Event(), []

    async def stored(name):
        asked.append(name)
        await go.wait()

    fleet.wait_stored = stored
    leaves = stub.stream()
    await leaves.open()
    await leaves.send(close=pb.Close())
    await until(lambda: asked)
    ended_early = leaves.call.done()
    go.set()

    await leaves.refusal()
    assert not ended_early
    assert asked == ["rgw.a"]
    assert (await leaves.call.code()).name == "OK"


async def test_a_removal_that_is_not_stored_is_not_acknowledged(fleet, stub):
    """The daemon gets "outcome unknown"."""

    async def silent(name):
        raise OutcomeUnknownError(f"{name}: not stored")

    fleet.wait_stored = silent
    leaves = stub.stream()
    await leaves.open()
    await leaves.send(close=pb.Close())

    assert isinstance(await leaves.refusal(), OutcomeUnknownError)

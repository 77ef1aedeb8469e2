"""Every gRPC call, made by every caller of ``docs/reference/access.md``, ends as the page says."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt

import grpc
import pytest

from mgr.tls import Tls
from tests.integration.rpc.cluster import cluster
from tests.support.callers import CAPS, NAMES, NOT_CONNECTED, calls, may, records
from tests.support.certificates import Authority

CA, STRANGER = Authority(), Authority()
REFUSED = {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}


def tls_of(name):
    """What this caller shows."""
    if name == "no certificate":
        return Tls(CA.pem)
    if name == "wrong CA":
        return STRANGER.tls("admin", trusted=CA)
    valid = -dt.timedelta(seconds=1) if name == "expired" else dt.timedelta(days=1)
    return CA.tls("admin" if name == "expired" else NAMES.get(name, name), valid=valid)


async def outcome(channel, call):
    """``allowed``, ``refused``, or ``not connected``: what became of one call."""
    method, request = call.method, call.request
    kind = "_".join(
        "stream" if streams else "unary"
        for streams in (method.client_streaming, method.server_streaming)
    )
    begin = getattr(channel, kind)(
        call.name, request_serializer=lambda m: m.SerializeToString(), response_deserializer=bytes
    )
    try:
        async with asyncio.timeout(20):
            if kind == "unary_unary":
                await begin(request)
                return "allowed"
            if method.client_streaming:
                stream = begin()
                await stream.write(request)
            else:
                stream = begin(request)
            await stream.read()
            stream.cancel()
    except grpc.aio.AioRpcError as failed:
        if failed.code() in REFUSED:
            return "refused"
        # What a manager answers has a reason; what the transport says has none.
        answered = "grpc-status-details-bin" in dict(failed.trailing_metadata() or ())
        return "allowed" if answered else "not connected"
    except asyncio.InvalidStateError:
        return "not connected"
    return "allowed"


@pytest.mark.parametrize("name", [*NOT_CONNECTED, *CAPS])
async def test_every_call_by_every_caller(name, tmp_path):
    """Allowed means that it got as far as to the servicer."""
    async with cluster("a", **CA.settings(tmp_path)) as one, contextlib.AsyncExitStack() as stack:
        active = one.promote("a", 5)
        active.maps = None  # refuses by itself: not active
        one["a"].view.rights.put(records())
        tls = tls_of(name)
        credentials = grpc.ssl_channel_credentials(tls.ca, tls.key or None, tls.cert or None)
        channel = await stack.enter_async_context(
            grpc.aio.secure_channel(one["a"].address, credentials)
        )
        found = {call.name: await outcome(channel, call) for call in calls()}

    if name in NOT_CONNECTED:
        assert set(found.values()) == {"not connected"}
        assert active.requests == []
        return
    assert found == {
        call.name: "allowed" if may(name, call.needs) else "refused" for call in calls()
    }

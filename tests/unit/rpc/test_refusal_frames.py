"""The request of a call that is refused is freed at once.

gRPC keeps the error that ends a call in a cycle, and its traceback has the frames.
"""

from __future__ import annotations

import traceback
from types import SimpleNamespace

import grpc
import pytest

from mgr.errors import InvalidArgumentError
from mgr.rpc import edge


class Request:
    """What a client sent; it may be megabytes."""


async def abort(*_):
    raise grpc.aio.AbortError("Locally aborted.")


async def behaviour(request, _context):
    """Refuse ``request``, from a frame that has it."""
    raise InvalidArgumentError(f"no {request}")


async def test_no_frame_of_the_error_that_ends_a_call_has_its_request():
    wrapped = edge._edge(behaviour, lambda *_: None, "/a/B")
    with pytest.raises(grpc.aio.AbortError) as ended:
        await wrapped(Request(), SimpleNamespace(abort=abort))

    error, kept = ended.value, []
    while error is not None:
        for frame, _ in traceback.walk_tb(error.__traceback__):
            kept += [frame.f_code.co_name, *frame.f_locals.values()]
        error = error.__context__
    assert "edge" in kept
    assert not [each for each in kept if isinstance(each, Request)]

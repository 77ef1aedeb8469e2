"""The command service translates, and starts nothing that came too late."""

from __future__ import annotations

import pytest

from mgr.access.identity import Caller
from mgr.client_limits import ClientLimits
from mgr.command.dispatch import Answer
from mgr.errors import DeadlineExceededError, InvalidArgumentError
from mgr.rpc.codec import span, value_of
from mgr.rpc.command import CommandServicer
from mgr.rpc.gated import GateEnforcer
from mgr.rpc.unread import UnreadAnswers
from mgr.rpc.v1.command_pb2 import ExecuteRequest
from mgr.tracing import TraceContext, current
from mgr.worker.gate import Gate
from tests.support.clock import ManualClock

ADA = Caller("ada", "1.2.3.4")


class Role:
    """Answers everything, and keeps what it was asked."""

    def __init__(self, answer=None):
        self.answer = answer or Answer()
        self.requests = []

    async def execute(self, request):
        self.requests.append(request)
        return self.answer


def service(role):
    clock = ManualClock(1000.0)
    gated = GateEnforcer(Gate(clock, lambda: None), clock, hold_s=1)
    limits = ClientLimits(clock.now)
    return CommandServicer(lambda: role, clock, None, None, gated, UnreadAnswers(limits))


async def test_a_request_is_handed_on_whole():
    """Words, typed arguments, input, id, the moment and where it came from."""
    role = Role(Answer(0, "out", "err", 7))
    request = ExecuteRequest(
        words=["hello", "Rome"],
        arguments={"times": value_of("times", 3)},
        input="Grüße".encode(),
        request_id="r-1",
        age=span(2.5),
    )

    answer = await service(role).execute(request, deadline_s=1005.0, caller=ADA)

    (asked,) = role.requests
    assert (asked.words, asked.arguments) == (("hello", "Rome"), {"times": 3})
    assert (asked.input, asked.request_id) == ("Grüße".encode(), "r-1")
    assert asked.age_s == 2.5
    assert (asked.deadline_s, asked.caller) == (1005.0, ADA)
    assert (answer.stdout, answer.stderr, answer.term) == (b"out", "err", 7)


@pytest.mark.parametrize("deadline_s", [999.9, 1000.0])
async def test_a_command_that_came_too_late_never_starts(deadline_s):
    """Its caller has gone: nobody would get its result."""
    role = Role()

    with pytest.raises(DeadlineExceededError, match="not begun"):
        await service(role).execute(ExecuteRequest(words=["x"]), deadline_s=deadline_s, caller=ADA)

    assert role.requests == []


async def test_no_words_are_no_command():
    """And say so."""
    with pytest.raises(InvalidArgumentError, match="no command given"):
        await service(Role()).execute(ExecuteRequest(), deadline_s=None, caller=ADA)


async def test_a_lone_surrogate_does_not_cost_the_answer():
    """A module decoded a file name as Python does; the wire takes UTF-8 only."""
    role = Role(Answer(0, "a\udcffb", "c\udcffd", 1))

    answer = await service(role).execute(ExecuteRequest(words=["x"]), deadline_s=None, caller=ADA)

    assert (answer.stdout, answer.stderr) == (b"a?b", "c?d")


GIVEN = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
OTHER = "00-11112222333344445555666677778888-00f067aa0ba902b7-01"


class Call:
    """A unary call with some metadata."""

    def __init__(self, metadata):
        self._metadata = metadata

    def invocation_metadata(self):
        return self._metadata

    def time_remaining(self):
        return None


class Nobody:
    """Knows every caller."""

    def caller_of(self, _context):
        return ADA


@pytest.mark.parametrize(
    ("fields", "metadata", "expected"),
    [
        ({}, (), None),
        ({"traceparent": GIVEN, "tracestate": "a=b"}, (), TraceContext(GIVEN, "a=b")),
        ({}, (("traceparent", GIVEN), ("tracestate", "a=b")), TraceContext(GIVEN, "a=b")),
        ({"traceparent": GIVEN}, (("traceparent", OTHER),), TraceContext(GIVEN)),
        ({"traceparent": "forged\nline"}, (("traceparent", OTHER),), TraceContext(OTHER)),
        ({}, (("traceparent", "forged"), ("traceparent-bin", b"\0")), None),
    ],
)
async def test_the_trace_context_is_the_requests_own_or_that_of_the_call(
    fields, metadata, expected
):
    """One stream has many commands, so a command has its own; what is not valid is dropped."""
    seen = []

    class Traced(Role):
        async def execute(self, request):
            seen.append(current())
            return await super().execute(request)

    served = service(Traced())
    served._authorizer = Nobody()

    await served.Execute(ExecuteRequest(words=["x"], **fields), Call(metadata))

    assert seen == [expected]
    assert current() is None

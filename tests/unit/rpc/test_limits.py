"""What one caller, and all of them, may take of the gRPC server."""

from __future__ import annotations

import contextlib

import pytest

from mgr.access.table import Caller
from mgr.client_limits import ClientLimits, RateLimit
from mgr.errors import OverloadedError, ReportLimitError, TooLargeError
from mgr.rpc import limits as rpc_limits
from mgr.rpc.limits import (
    CALLER_STREAMS,
    REPORT,
    CommandLimits,
    JoinLimits,
    StreamLimits,
    bytes_max,
    too_large_error,
)

FOLLOW_LOG = "/mgr.rpc.v1.ManagerService/FollowLog"
ANN, BOB = Caller("ann", "10.0.0.1"), Caller("bob", "10.0.0.1")


class Now:
    s = 0.0


@pytest.fixture
def limits():
    return ClientLimits(lambda: Now.s)


def test_a_message_has_a_limit_by_its_method():
    """One MiB, unless the method carries more."""
    assert bytes_max("/mgr.rpc.v1.ManagerService/Fail") == 1 << 20
    assert bytes_max("/mgr.rpc.v1.CommandService/Execute") == 2 << 20
    assert bytes_max(REPORT) == 4 << 20
    assert isinstance(too_large_error(REPORT, 5), ReportLimitError)
    assert isinstance(too_large_error(FOLLOW_LOG, 5), TooLargeError)


def test_streams_of_one_caller_are_limited_by_method(limits):
    """Another caller is not affected; a stream that ends makes room."""
    streams = StreamLimits(limits, total_max=10_000)
    with contextlib.ExitStack() as others:
        for _ in range(CALLER_STREAMS[FOLLOW_LOG] - 1):
            others.enter_context(streams.counted(FOLLOW_LOG, ANN))
        with streams.counted(FOLLOW_LOG, ANN):
            with pytest.raises(OverloadedError, match="FollowLog streams of ann"):
                others.enter_context(streams.counted(FOLLOW_LOG, ANN))
            others.enter_context(streams.counted(FOLLOW_LOG, BOB))
        others.enter_context(streams.counted(FOLLOW_LOG, ANN))

    assert limits.recent()["streams_FollowLog"].caller == "ann"


def test_all_streams_together_are_limited(limits):
    """Whoever opens them."""
    streams = StreamLimits(limits, total_max=2)
    with (
        streams.counted(FOLLOW_LOG, ANN),
        streams.counted(REPORT, BOB),
        pytest.raises(OverloadedError, match="2 streams"),
        streams.counted(FOLLOW_LOG, BOB),
    ):
        pass
    with streams.counted(FOLLOW_LOG, BOB):
        pass


@pytest.mark.parametrize(
    ("limit", "value", "reached"),
    [
        ("CALLER_COMMANDS_MAX", 2, "commands"),
        ("CALLER_BYTES_MAX", 250, "command_bytes"),
        ("TOTAL_BYTES_MAX", 250, "command_bytes_total"),
    ],
)
def test_unanswered_commands_are_limited(limits, monkeypatch, limit, value, reached):
    """Their number and their size: all of them are in memory."""
    monkeypatch.setattr(rpc_limits, limit, value)
    commands = CommandLimits(limits)
    with (
        commands.counted(ANN, 100),
        commands.counted(ANN, 100),
        pytest.raises(OverloadedError),
        commands.counted(ANN, 100),
    ):
        pass
    with commands.counted(ANN, 100):
        pass

    assert list(limits.recent()) == [reached]


def test_new_daemons_join_at_a_limited_rate(limits):
    """A burst, then so many a second."""
    now = Now()
    joins = JoinLimits(lambda: now.s, limits)
    for _ in range(2000):
        joins.check(ANN)
    with pytest.raises(OverloadedError, match="retry later"):
        joins.check(ANN)
    joins.check(BOB)

    now.s += 0.1
    for _ in range(5):
        joins.check(ANN)
    assert limits.recent()["joins"].count == 1


def test_the_rates_of_thousands_of_callers_fit_in_memory(monkeypatch):
    """Those whose bucket is full again are forgotten first."""
    monkeypatch.setattr("mgr.client_limits.CALLERS_MAX", 3)
    now = Now()
    rate = RateLimit(lambda: now.s, per_s=1, burst=1)
    for name in "abc":
        assert rate.take(name)
    assert not rate.take("c")
    assert rate.take("d")

    assert len(rate._buckets) == 3
    now.s += 10
    assert rate.take("e")
    assert len(rate._buckets) == 1

"""What a message may hold is known before it is decoded."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mgr.rpc.preflight import (
    COMMAND_FIELDS_MAX,
    REPORT_FIELDS_MAX,
    TooManyFieldsError,
    check_execute,
    check_report,
    check_session,
)
from mgr.rpc.v1 import cluster_pb2 as pb
from mgr.rpc.v1.command_pb2 import ExecuteRequest, SessionRequest, Value, ValueList

MANY = ["x"] * (COMMAND_FIELDS_MAX + 1)
TEXTS = pb.Texts(texts={str(number): "" for number in range(REPORT_FIELDS_MAX)})


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (check_execute, ExecuteRequest(words=MANY)),
        (
            check_execute,
            ExecuteRequest(
                arguments={"a": Value(list=ValueList(values=[Value(truth=True)] * 100_000))}
            ),
        ),
        (check_session, SessionRequest(id=7, execute=ExecuteRequest(words=MANY))),
        (
            check_report,
            pb.ReportRequest(call=SessionRequest(execute=ExecuteRequest(words=MANY * 9))),
        ),
        (
            check_report,
            pb.ReportRequest(
                declare=pb.Declare(counters=[pb.CounterDeclaration()] * REPORT_FIELDS_MAX)
            ),
        ),
        (check_report, pb.ReportRequest(report=pb.Report(status=TEXTS))),
        (
            check_report,
            pb.ReportRequest(
                report=pb.Report(devices=pb.Devices(devices=[pb.Device()] * REPORT_FIELDS_MAX))
            ),
        ),
    ],
)
def test_too_many_fields_are_found(check, message):
    """In the message, and in those of its fields that repeat something."""
    with pytest.raises(TooManyFieldsError):
        check(message.SerializeToString())


def test_what_programs_send_passes():
    """Long input, many counters, many values in one row."""
    check_execute(ExecuteRequest(words=["x"] * 1000, input=b"\n" * (1 << 20)).SerializeToString())
    check_session(SessionRequest(id=1, execute=ExecuteRequest(words=["a"])).SerializeToString())
    counter = pb.CounterDeclaration(group="g", name="n", labels={str(n): "x" for n in range(16)})
    check_report(
        pb.ReportRequest(declare=pb.Declare(counters=[counter] * 10_000)).SerializeToString()
    )
    check_report(pb.ReportRequest(report=pb.Report(values=[1.0] * 20_000)).SerializeToString())


@given(st.binary(max_size=200))
def test_any_bytes_are_walked_to_their_end(data):
    """The decoder refuses what is malformed; groups and endless numbers are refused here."""
    for check in (check_execute, check_session, check_report):
        with contextlib.suppress(TooManyFieldsError):
            check(data)

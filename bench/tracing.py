"""Measure what traces cost a no-op module command: none, only the context, and spans.

The same client sends the same commands over one session to two managers in turn, so that what the
machine does besides is in all figures. Spans are sent to a collector in this process.
"""

from __future__ import annotations

import asyncio
import contextlib

import grpc

from bench.report import Report
from bench.setting import Setting
from mgr.clock import CLOCK
from mgr.rpc.v1 import command_pb2 as pb
from mgr.rpc.v1 import command_pb2_grpc
from tests.support.otlp import collector

WORDS = ["probe", "nop"]
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
ROUNDS = 10
MESSAGES = 500
WARM_UP = 50


async def _over_session(address: str, traceparent: str) -> list[float]:
    """Milliseconds a message, one at a time over one stream."""
    found = []
    async with grpc.aio.insecure_channel(address) as channel:
        call = command_pb2_grpc.CommandServiceStub(channel).Session()
        for number in range(MESSAGES + WARM_UP):
            request = pb.ExecuteRequest(words=WORDS, traceparent=traceparent)
            begun = CLOCK.now()
            await call.write(pb.SessionRequest(id=number + 1, execute=request))
            answer = await call.read()
            found.append((CLOCK.now() - begun) * 1e3)
            assert answer.response.retval == 0, answer
        await call.done_writing()
    return found[WARM_UP:]


async def _measure(plain: str, spans: str) -> Report:
    report = Report("Traces", "python -m bench tracing")
    kinds = (
        ("reference: no trace", plain, ""),
        ("context passed on, no spans", plain, TRACEPARENT),
        ("spans, sent to a collector", spans, TRACEPARENT),
    )
    samples: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for what, address, traceparent in kinds:
            samples.setdefault(what, []).extend(await _over_session(address, traceparent))
    for what, each in samples.items():
        report.add(what, each)
    without, passed, made = (series.percentile(0.5) for series in report.series)
    report.notes.append(f"the context adds {(passed - without) * 1e3:.0f} us at p50")
    report.notes.append(f"spans add {(made - without) * 1e3:.0f} us at p50")
    return report


def run() -> Report:
    """Start what is needed, measure, stop it."""
    with contextlib.ExitStack() as running:
        received = running.enter_context(collector())
        plain = running.enter_context(Setting(names=("a",)))
        spans = running.enter_context(Setting(names=("a",), trace_endpoint=received.url))
        for setting in (plain, spans):
            setting.cluster.settled(60)
            setting.cluster.enable("probe")
            setting.cluster.run("probe", "nop")
        report = asyncio.run(
            _measure(plain.cluster.active().grpc_address, spans.cluster.active().grpc_address)
        )
        report.notes.append(f"{len(received.spans)} spans were received")
    return report

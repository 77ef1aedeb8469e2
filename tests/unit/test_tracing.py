"""The trace context: which texts are one, and that it costs nothing to have none."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys

import pytest

from mgr import tracing
from mgr.errors import InvalidSettingError
from mgr.tracing import Carried, TraceContext, current, parse

GIVEN = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def no_spans():
    """Take away what a test installs."""
    yield
    tracing.install(None)


def test_a_valid_context_is_taken_as_it_is():
    """Nothing is repaired and nothing is added: it is passed on."""
    context = parse(GIVEN, "vendor=a,other=b")

    assert context == TraceContext(GIVEN, "vendor=a,other=b")
    assert context.trace_id == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert context.headers() == {"traceparent": GIVEN, "tracestate": "vendor=a,other=b"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        GIVEN.upper(),
        GIVEN + "-",
        GIVEN + "-more",
        GIVEN[:-1],
        GIVEN + "\n",
        "ff" + GIVEN[2:],
        "00-" + "0" * 32 + "-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-" + "0" * 16 + "-01",
        "01" + GIVEN[2:] + "-" + "x" * 100,
        "\u06600" + GIVEN[2:],
    ],
)
def test_what_is_no_context_is_dropped(text):
    """A client may send anything: none of it gets into a log or an etcd key."""
    assert parse(text) is None


def test_a_later_version_may_append_fields():
    """The standard demands it."""
    text = "01" + GIVEN[2:] + "-what.comes"

    assert parse(text) == TraceContext(text)


@pytest.mark.parametrize("state", ["a=b\n", "a=é", "x" * 513])
def test_a_tracestate_that_is_not_valid_is_left_out(state):
    """The trace goes on without it."""
    assert parse(GIVEN, state) == TraceContext(GIVEN)


async def test_tasks_inherit_the_context_and_it_ends_with_the_block():
    """So a command's own tasks belong to it, and the next command does not."""
    seen = []

    async def work():
        seen.append(current())

    async with asyncio.TaskGroup() as tasks:
        with Carried(parse(GIVEN)):
            tasks.create_task(work())
        tasks.create_task(work())

    assert seen == [TraceContext(GIVEN), None]


def test_log_lines_name_the_trace(capfd):
    """Also those of a module: the context is that of the thread that logs."""
    from mgr import logs

    root = logging.getLogger()
    before = root.handlers[:], root.level
    try:
        logs.set_up(level="info", form="text", manager="a", component="worker")
        with Carried(parse(GIVEN)):
            logging.getLogger("mgr.test").info("traced")
        logging.getLogger("mgr.test").info("not traced")
    finally:
        root.handlers[:], root.level = before

    first, second = capfd.readouterr().err.splitlines()
    assert first.endswith("traced trace_id=4bf92f3577b34da6a3ce929d0e0e4736")
    assert "trace_id" not in second


def test_without_an_endpoint_opentelemetry_is_not_imported():
    """Neither by a worker nor by a client: it takes a fifth of a second and 20 MB."""
    code = (
        "import sys, mgr.worker.loop, mgr.client.async_client, mgr.cli.run, mgr.tracing\n"
        "with mgr.tracing.span('x') as span: span.set('a', 1)\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )

    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout == "[]\n"


def test_an_endpoint_without_opentelemetry_is_a_clear_error(monkeypatch, no_spans):
    """It names the extra to install."""
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    monkeypatch.delitem(sys.modules, "mgr.otel", raising=False)

    with pytest.raises(InvalidSettingError, match=r"mgrd\[otel\]"):
        tracing.start("http://127.0.0.1:1", service="mgrd", instance="a")

    assert not tracing.enabled()

"""One trace from the client through manager, modules and etcd, and the context where no span is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mgr.tracing import Carried, parse
from tests.e2e.test_module_faults import write
from tests.support.cluster import lines

pytestmark = pytest.mark.timeout(180)

GIVEN = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
TRACE = GIVEN[3:35]

CALLER = """
    import json
    import logging
    from mgr_module import CLIWriteCommand, HandleCommandResult, MgrModule
    from mgr_util import trace_headers

    log = logging.getLogger(__name__)

    class Module(MgrModule):
        @CLIWriteCommand("NAME go")
        def go(self, other: str) -> HandleCommandResult:
            \"\"\"Store something, log something, call another module\"\"\"
            self.set_store("went", "yes")
            self.log.warning("went there")
            there = self.remote(other, "where")
            return HandleCommandResult(stdout=json.dumps([trace_headers(), there]))

        def where(self):
            return trace_headers()
"""
MODULES = {name: CALLER.replace("NAME", name) for name in ("near", "apart")}


@pytest.fixture
def traced(start, tmp_path):
    """One manager with two modules, of which one runs in a process of its own."""

    def started(**settings):
        folder = tmp_path / "modules"
        write(folder, MODULES)
        # What is tested has no hurry, and must not fail where the machine is busy.
        patient = {"watchdog_s": 30, "lease_ttl_s": 30, "profile": "off"}
        cluster = start(names=("a",), module_path=folder, **patient, **settings)
        cluster.settled(60)
        isolated = cluster.run("config", "set", "mgr", "mgr_module_isolation", "apart=process")
        assert isolated.retval == 0, isolated
        cluster.enable(*MODULES)
        for name in MODULES:
            # A command waits for the start of its module; a call of another module does not.
            answer = cluster.run(name, "go", other=name, timeout_s=60)
            assert answer.retval == 0, answer
        return cluster

    return started


def test_the_context_is_passed_on_without_spans(traced):
    """To the module's command, its calls, the log and the audit: nothing is configured for it."""
    cluster = traced()
    for name, other in (("near", "apart"), ("apart", "near")):
        with Carried(parse(GIVEN, "vendor=x")):
            answer = cluster.run(name, "go", other=other)

        assert answer.retval == 0, answer
        headers = {"traceparent": GIVEN, "tracestate": "vendor=x"}
        assert json.loads(answer.text) == [headers, headers]
    audit = json.loads(cluster.run("audit", "ls", format="json").text)
    traced_commands = {each["command"] for each in audit if each.get("trace_id") == TRACE}
    assert traced_commands == {"near go", "apart go"}
    logged = [line for line in lines(cluster.managers["a"].log) if "went there" in line]
    # Two at the start had no trace.
    assert [f"trace_id={TRACE}" in line for line in logged] == [False, False, True, True]
    # The next command of the same client has no trace.
    assert json.loads(cluster.run("near", "go", other="apart").text) == [{}, {}]


def test_mgrctl_passes_on_the_context_of_its_environment(traced):
    """As build systems and shells hand it down."""
    cluster = traced()

    done = subprocess.run(
        [Path(sys.executable).with_name("mgrctl"), "near", "go", "--other=near"],
        env={**os.environ, "MGR_HOSTS": ",".join(cluster.hosts), "TRACEPARENT": GIVEN},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [{"traceparent": GIVEN}] * 2


def test_spans_make_one_trace_from_the_client_to_etcd(traced, monkeypatch):
    """Each names its parent; nothing that the client sent is in a name or an attribute."""
    pytest.importorskip("opentelemetry.sdk", reason="TRACES NOT TESTED: no extra otel")
    from mgr import otel, tracing
    from tests.support.otlp import collector

    with collector() as received:
        cluster = traced(trace_endpoint=received.url)
        monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_on")
        tracing.install(otel.spans_to(received.url, service="tester", instance="t", version="0"))
        try:
            answer = cluster.run("near", "go", other="apart")
        finally:
            tracing.stop(5.0)
        found = received.wait(lambda spans: any(each.name == "near go" for each in spans))
    (client,) = [each for each in found if each.service == "tester"]
    mine = [each for each in found if each.trace_id == client.trace_id]
    by_name = {each.name: each for each in mine}

    def above(name):
        parents = {each.span_id: each.name for each in mine}
        return parents[by_name[name].parent_id]

    assert answer.retval == 0
    assert by_name["near go"].parent_id == client.span_id
    assert above("module near") == "near go"
    assert above("remote apart.where") == "module near"
    stores = [each for each in mine if each.name == "etcd Txn"]
    parents = {each.span_id: each.name for each in mine}
    # The journal's and the audit's by the command, the module's own by the module.
    assert {parents[each.parent_id] for each in stores} == {"near go", "module near"}
    assert json.loads(answer.text)[0]["traceparent"].split("-")[1] == client.trace_id
    assert by_name["near go"].attributes["mgr.module"] == "near"
    assert not any("other" in str(each) for each in mine if each.name != "remote apart.where")


def test_spans_go_through_the_process_of_a_module(traced):
    """What it asks of the manager and of another module is below its own span."""
    pytest.importorskip("opentelemetry.sdk", reason="TRACES NOT TESTED: no extra otel")
    from tests.support.otlp import collector

    with collector() as received:
        cluster = traced(trace_endpoint=received.url)
        with Carried(parse(GIVEN)):
            answer = cluster.run("apart", "go", other="near")
        found = received.wait(lambda spans: any(each.name == "apart go" for each in spans))
    mine = [each for each in found if each.trace_id == TRACE]
    names = {each.span_id: each.name for each in mine}
    below = {each.name for each in mine if names.get(each.parent_id) == "module apart"}

    assert answer.retval == 0, answer
    (server,) = [each for each in mine if each.name == "apart go"]
    assert server.parent_id == GIVEN.split("-")[2]
    assert below == {"etcd Txn", "remote near.where"}

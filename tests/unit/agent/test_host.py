"""What an agent reads of the host, and what it lets others do to it."""

from __future__ import annotations

import errno
import json
import os

import pytest

from mgr.agent.actions import Actions
from mgr.agent.facts import facts
from mgr.agent.host_metrics import DESCRIPTIONS, HostMetrics, busiest
from mgr.agent.settings import AgentSettings, Watch
from mgr.agent.smart import device_in, wear_level
from mgr.agent.watched_units import properties_in, report_process, report_unit, sample
from mgr.client.daemon.program import Program
from mgr.rpc.v1.command_pb2 import ExecuteRequest


@pytest.fixture
def host():
    return Program("host", "h", host="h", version="", metadata=None, on_replaced=None)


def values(program):
    found = {}
    for series in program.counters.live():
        labels = "".join(f",{value}" for _, value in series.spec.labels)
        found[series.spec.name + labels] = series.read()[0]
    return found


def test_facts_are_short_texts():
    """As metadata they may be no more."""
    found = facts()

    assert {"hostname", "kernel_version", "cpus", "mem_total_kb", "arch"} <= set(found)
    assert all(isinstance(text, str) and 0 < len(text) <= 255 for text in found.values())


def test_the_host_is_read_into_counters(host):
    """Twice: totals grow by what came in between."""
    metrics = HostMetrics(host)

    metrics.read()
    first = values(host)
    metrics.read()
    second = values(host)

    assert first["memory_total"] > first["memory_available"] > 0
    assert second["cpu_seconds,user"] >= first["cpu_seconds,user"] > 0
    assert second["cpu_seconds,user"] < first["cpu_seconds,user"] + 3600
    assert any(name.startswith("network_received_bytes") for name in first)


def test_every_counter_of_a_host_has_a_help_text(host):
    """As the active exports it: ``# HELP`` says more than the name."""
    HostMetrics(host).read()

    texts = {each.spec.name: each.spec.description for each in host.counters.live()}
    assert texts.keys() <= DESCRIPTIONS.keys()
    assert {"cpu_seconds", "load_5m", "memory_total", "network_errors"} <= texts.keys()
    assert [name for name, text in texts.items() if len(text) < 10] == []


def test_every_counter_of_a_watched_unit_or_process_has_a_help_text(host):
    """Those too are exported under names that many programs use."""
    report_unit("a.service", {"ActiveState": "active"}, host)
    report_process("no such program", host)

    texts = {each.spec.name: each.spec.description for each in host.counters.live()}
    assert set(texts) == {"active", "restarts", "memory", "cpu_seconds", "processes"}
    assert [name for name, text in texts.items() if len(text) < 10] == []


def test_an_interface_that_goes_is_reported_no_more(host, monkeypatch):
    """One that comes back begins at its own total."""
    lo = next(iter(__import__("psutil").net_io_counters(pernic=True).values()))
    present = {"eth0": lo}
    monkeypatch.setattr("psutil.net_io_counters", lambda **_: present)
    metrics = HostMetrics(host)
    metrics.read()
    before = values(host)["network_sent_bytes,eth0"]

    present.clear()
    metrics.read()
    gone = "network_sent_bytes,eth0" not in values(host)
    present["eth0"] = lo
    metrics.read()

    assert gone
    assert values(host)["network_sent_bytes,eth0"] == before == lo.bytes_sent


def test_the_busiest_programs_are_named():
    """This one is among them."""
    assert os.getpid() in {pid for pid, *_ in busiest(100_000)}
    assert len(list(busiest(1))) == 1


@pytest.mark.parametrize(
    ("document", "worn"),
    [
        ({"nvme_smart_health_information_log": {"percentage_used": 12}}, 0.12),
        ({"nvme_smart_health_information_log": {"percentage_used": 140}}, 1.0),
        ({"scsi_percentage_used_endurance_indicator": 3}, 0.03),
        ({"ata_smart_attributes": {"table": [{"id": 9}, {"id": 231, "value": 90}]}}, 0.1),
        ({"ata_smart_attributes": {"table": [{"id": 5, "value": 100}]}}, None),
        ({}, None),
    ],
)
def test_wear_is_read_where_a_disk_tells_it(document, worn):
    """Each kind of disk reports it in another field."""
    assert wear_level(document) == pytest.approx(worn)


def test_a_disk_is_known_by_model_and_serial_number():
    """Without one it cannot be distinguished from another."""
    document = {"model_name": "ACME  X1", "serial_number": " 4711 "}

    assert device_in(document, "/dev/sda").id == "ACME_X1_4711"
    assert device_in(document, "/dev/sda").name == "sda"
    assert device_in({"model_name": "ACME"}, "/dev/sda") is None


def test_a_unit_says_how_it_stands(host):
    """Failed is a health metric; what systemd does not know is 0."""
    output = "LoadState=loaded\nActiveState=failed\nSubState=failed\nNRestarts=3\n"
    report_unit("x.service", properties_in(f"{output}MemoryCurrent={(1 << 64) - 1}\nX=1\n"), host)

    assert host.status["state"] == "failed"
    assert [m.type for m in host.reported_state.metrics] == ["UNIT_FAILED"]
    assert values(host) == {"active": 0, "restarts": 3, "memory": 0, "cpu_seconds": 0}

    report_unit("x.service", properties_in("ActiveState=active\nCPUUsageNSec=5000000000"), host)

    assert host.reported_state.metrics == ()
    assert values(host)["cpu_seconds"] == 5


@pytest.fixture
def systemctl(tmp_path, monkeypatch):
    """A systemctl that does what a test writes."""

    def write(script):
        file = tmp_path / "systemctl"
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)

    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return write


@pytest.mark.parametrize(
    ("hangs", "raises"),
    [("exec sleep 60", TimeoutError), ("echo 'Failed to connect to bus' >&2; exit 1", OSError)],
)
async def test_a_unit_is_unknown_while_systemd_does_not_answer(
    host, systemctl, monkeypatch, hangs, raises
):
    """Not the last values: neither its state nor its usage; and health shows it."""
    monkeypatch.setattr("mgr.agent.watched_units.LIMIT_S", 0.2)
    watch = Watch(unit="x.service")
    systemctl("echo LoadState=loaded; echo ActiveState=active; echo NRestarts=3")
    await sample(watch, host)
    assert (host.status["state"], values(host)["active"]) == ("active", 1)

    systemctl(hangs)
    for _ in range(2):
        with pytest.raises(raises):
            await sample(watch, host)

    assert host.status["state"] == "unknown"
    assert [(m.type, m.value) for m in host.reported_state.metrics] == [("UNIT_UNKNOWN", 1)]
    assert values(host) == {}

    systemctl("echo LoadState=loaded; echo ActiveState=failed; echo NRestarts=4")
    await sample(watch, host)

    assert host.status["state"] == "failed"
    assert [m.type for m in host.reported_state.metrics] == ["UNIT_FAILED"]
    assert values(host)["restarts"] == 4


def test_an_absent_process_is_reported(host):
    """By name, as it is watched."""
    report_process("no such program", host)

    assert host.status["state"] == "absent"
    assert host.reported_state.metrics[0].summary == "no process named no such program"


async def answered(host, *words):
    return await host.handlers.answer(ExecuteRequest(words=words), timeout_s=5)


async def test_what_is_not_listed_is_not_there(host):
    """Neither as a command nor for another unit; nothing is run."""
    watch = Watch(unit="a.service", allow=("status", "restart"))
    Actions(AgentSettings(top=False, watch=(watch,)), host)

    assert (await answered(host, "top")).retval == -errno.EINVAL
    assert (await answered(host, "log", "a.service")).retval == -errno.EINVAL
    refused = await answered(host, "unit", "restart", "b.service")
    assert refused.retval == -errno.EPERM
    assert "'b.service' is not allowed" in refused.stderr
    facts_said = (await answered(host, "facts", "--format=json")).stderr
    assert "Unexpected argument" in facts_said


async def test_facts_come_in_the_form_that_is_asked_for(host):
    """The client's --format travels beside the words."""
    Actions(AgentSettings(), host)

    request = ExecuteRequest(words=["facts"])
    request.arguments["format"].text = "json"
    answer = await host.handlers.answer(request, timeout_s=5)

    assert json.loads(answer.stdout)["hostname"] == facts()["hostname"]
    assert b"kernel_version  " in (await answered(host, "facts")).stdout

"""What an active manager counts, as Prometheus reads it."""

import threading

import pytest
from prometheus_client import generate_latest

from mgr.errors import UnknownCommandError
from mgr.host.notifications import TAGS_MAX
from mgr.metrics import Metrics
from mgr.module_api.module import MgrModule
from tests.unit.active.conftest import discovered_module


def figure(cluster, name):
    """The value of one series."""
    text = generate_latest(cluster.manager.metrics.registry).decode()
    [line] = [line for line in text.splitlines() if line.startswith(f"{name} ")]
    return float(line.rpartition(" ")[2])


async def test_commands_are_counted_by_how_they_ended(active):
    """Answered, said no, or refused with a reason."""
    async with active() as cluster:
        await cluster.ask("mgr", "stat")
        await cluster.ask("mgr", "module", "enable", "nothing")
        with pytest.raises(UnknownCommandError):
            await cluster.ask("no", "such", "thing")

        assert figure(cluster, 'mgr_commands_total{outcome="ok"}') == 1
        assert figure(cluster, 'mgr_commands_total{outcome="returned_error"}') == 1
        assert figure(cluster, 'mgr_commands_total{outcome="UNKNOWN_COMMAND"}') == 1
        assert figure(cluster, "mgr_command_seconds_count") == 3


async def test_a_module_is_shown_while_it_is_enabled(active):
    """Up while it takes commands, gone when it is disabled."""
    found = discovered_module("one", type("One", (MgrModule,), {}))
    async with active(found, enabled=["one"]) as cluster:
        assert figure(cluster, 'mgr_module_up{module="one"}') == 1

        await cluster.switch("one", on=False)
        await cluster.until(lambda: "one" not in cluster.role._modules._runners)

        text = generate_latest(cluster.manager.metrics.registry).decode()
        assert 'mgr_module_up{module="one"}' not in text


async def test_dropped_notifications_are_counted_while_the_module_runs(active):
    """Nothing else has to happen to it before they are shown."""
    busy, go_on = threading.Event(), threading.Event()

    def notify(_self, _kind, _tag):
        busy.set()
        go_on.wait(10)

    body = {"NOTIFY_TYPES": ["command"], "notify": notify}
    found = discovered_module("slow", type("Slow", (MgrModule,), body))
    dropped = 'mgr_module_notifications_dropped{module="slow"}'
    async with active(found, enabled=["slow"]) as cluster:
        assert figure(cluster, dropped) == 0

        cluster.role._modules.notify("command", "first")
        await cluster.until(busy.is_set)
        for number in range(TAGS_MAX + 3):
            cluster.role._modules.notify("command", str(number))
        assert figure(cluster, dropped) == 3

        go_on.set()
        await cluster.switch("slow", on=False)
        await cluster.until(lambda: "slow" not in cluster.role._modules._runners)
        assert dropped not in generate_latest(cluster.manager.metrics.registry).decode()


def test_failures_of_etcd_are_counted_from_zero_on():
    """Prometheus sees no increase in a counter that appears with a value."""
    metrics = Metrics()

    metrics.etcd.observe("Txn", 0.001)

    text = generate_latest(metrics.registry).decode()
    for reason in ("STORE_UNAVAILABLE", "OUTCOME_UNKNOWN"):
        sample = f'mgr_etcd_request_failures_total{{operation="Txn",reason="{reason}"}} 0.0'
        assert sample in text.splitlines()

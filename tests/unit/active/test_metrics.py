"""What an active manager counts, as Prometheus reads it."""

import pytest
from prometheus_client import generate_latest

from mgr.errors import UnknownCommandError
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

"""Published maps as modules meet them: told, read, and made by one of them."""

import asyncio
import errno
import threading

import pytest

from mgr.errors import TermLostError
from mgr.module_api.module import MgrModule
from tests.unit.active.conftest import command_table, discovered_module


class Reader(MgrModule):
    """Wants to be told of racks."""

    NOTIFY_TYPES = ("racks",)
    COMMANDS = command_table("reader wait")
    EFFECTS = "store"

    def __init__(self, *args):
        super().__init__(*args)
        self.received = []
        self.busy, self.goes_on = threading.Event(), threading.Event()

    def notify(self, notify_type, notify_id):
        self.received.append((notify_type, notify_id))

    def handle_command(self, _inbuf, _cmd):
        self.busy.set()
        self.goes_on.wait(5)
        return 0, "", ""


@pytest.fixture
async def alone(active):
    async with active(discovered_module("reader", Reader), enabled=["reader"]) as cluster:
        cluster.module = cluster.role._modules.instance_of("reader")
        yield cluster


async def test_a_module_is_notified_of_the_version_and_reads_the_map(alone):
    """What it reads is at least as new as what it was told."""
    version = await alone.role.maps.set("racks", '{"a": 1}')
    await alone.role.maps.set("other", "{}")
    await alone.until(lambda: alone.module.received)

    assert alone.module.received == [("racks", version)]
    assert alone.module.get("racks") == {"a": 1}
    assert alone.module.get_map("racks") == (version, {"a": 1})
    assert alone.module.get_map("racks")[1] is alone.module.get_map("racks")[1]


async def test_a_busy_module_is_notified_of_the_last_version_only(alone):
    """However often the map changed meanwhile; and 0 once it is gone."""
    asked = alone.tasks.create_task(alone.ask("reader", "wait"))
    await asyncio.to_thread(alone.module.busy.wait, 5)
    for number in range(300):
        version = await alone.role.maps.set("racks", f'{{"n": {number}}}')
    alone.module.goes_on.set()
    await asked
    await alone.until(lambda: alone.module.received)
    await alone.role.maps.remove("racks")
    await alone.until(lambda: len(alone.module.received) == 2)

    assert alone.module.received == [("racks", version), ("racks", 0)]
    assert alone.module.get("racks") is None


async def test_a_module_publishes_and_reads_its_own_map_at_once(alone):
    """The call returns when it is stored and every thread sees it."""

    def work():
        module = alone.module
        first = module.set_map("loads", {"h1": 0.5})
        seen = module.get("loads")
        refused = module.compare_and_set_map("loads", 0, {})
        changed = module.compare_and_set_map("loads", first, {"h1": 0.7})
        removed = module.compare_and_set_map("loads", changed, None), module.remove_map("loads")
        return seen, refused, changed > first, removed, module.get_map("loads")

    assert await asyncio.to_thread(work) == ({"h1": 0.5}, None, True, (0, False), (0, None))


@pytest.mark.parametrize(
    ("name", "document", "kind"),
    [
        ("health", {}, ValueError),
        ("clog", {}, ValueError),
        ("osd_map_2", {}, ValueError),
        ("service_map", {}, ValueError),
        ("a/b", {}, ValueError),
        ("racks", {"a": "x" * (1 << 20)}, ValueError),
        ("racks", {"a": float("nan")}, ValueError),
        ("racks", {"a": object()}, TypeError),
    ],
)
async def test_what_cannot_be_published_is_refused(alone, name, document, kind):
    """Names of the manager's documents and notifications, and what is no JSON."""
    with pytest.raises(kind):
        await asyncio.to_thread(alone.module.set_map, name, document)


async def test_a_module_of_a_term_that_is_over_publishes_nothing(alone):
    """And is told, since it may have begun to act on it."""
    await alone.store.revoke(alone.lease)

    with pytest.raises(TermLostError):
        await asyncio.to_thread(alone.module.set_map, "racks", {})


async def test_commands_publish_and_withdraw(alone):
    """``map set`` and ``map rm`` are the same to modules as any other way."""
    answer = await alone.ask("map", "set", "racks")
    refused = await alone.ask("map", "rm", "racks", expected_version=7)

    assert answer.retval == -errno.EINVAL
    assert refused.retval == 0

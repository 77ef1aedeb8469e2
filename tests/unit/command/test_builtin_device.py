"""``device``: listed, found by host and daemon, and what is expected of them."""

import asyncio
import errno
import json

import pytest

from mgr.active.fleet.wear import WearLevelStore
from mgr.cluster.daemon import DaemonStatus, Device, OpenRequest
from tests.support.builtin_commands import builtin_commands
from tests.support.held_store import HeldStore, turn_the_loop

DISK = {
    "devid": "ACME_1_x",
    "location": [{"host": "h1", "dev": "sda", "path": "/dev/sda"}],
    "daemons": ["osd.1", "osd.2"],
    "wear_level": 0.25,
}
TAPE = {
    "devid": "OLD_2_y",
    "location": [{"host": "h2", "dev": "st0", "path": ""}],
    "daemons": ["host.h2"],
    "life_expectancy_min": "2027-01-01T00:00:00+00:00",
    "life_expectancy_max": "2027-06-01T00:00:00+00:00",
}


async def at_work(at):
    at.documents["devices"] = {"devices": [DISK, TAPE]}


async def test_devices_are_listed_with_where_they_are_and_how_worn():
    """The columns of Ceph's own command."""
    async with builtin_commands() as at:
        await at_work(at)
        shown = (await at.run("device", "ls")).stdout.splitlines()
        listed = await at.json("device", "ls")

    assert shown[0].split() == ["DEVICE", "HOST:DEV", "DAEMONS", "WEAR", "LIFE", "EXPECTANCY"]
    assert shown[1].split() == ["ACME_1_x", "h1:sda", "osd.1", "osd.2", "25%"]
    assert shown[2].endswith("2027-01-01 to 2027-06-01")
    assert listed == [DISK, TAPE]


async def test_devices_are_found_by_host_and_by_daemon():
    """None is no error."""
    async with builtin_commands() as at:
        await at_work(at)
        found = [
            [each["devid"] for each in await at.json("device", *words)]
            for words in (
                ("ls-by-host", "h2"),
                ("ls-by-host", "h3"),
                ("ls-by-daemon", "osd.2"),
            )
        ]

    assert found == [["OLD_2_y"], [], ["ACME_1_x"]]


async def test_one_device_is_shown_in_full():
    """Only facts that there are."""
    async with builtin_commands() as at:
        await at_work(at)
        shown = await at.run("device", "info", "ACME_1_x")
        absent = await at.run("device", "info", "none")

    assert shown.stdout.splitlines() == [
        "device ACME_1_x",
        "attachment h1:sda",
        "daemons osd.1 osd.2",
        "wear 25%",
    ]
    assert (absent.retval, absent.stderr) == (-errno.ENOENT, "device none not found")


async def test_a_life_expectancy_is_kept_beside_what_else_is_known():
    """Under ``device/<devid>``, where Ceph's modules look; taken back, the rest stays."""
    async with builtin_commands() as at:
        await at_work(at)
        key = at.leading_term.keys.entry("device/ACME_1_x")
        await at.leading_term.fenced.put(key, '{"wear_level": 0.1}')
        await at.run("device", "set-life-expectancy", "ACME_1_x", "2027-01-01", "2027-02-01")
        kept = json.loads(at.stored(key))
        await at.run("device", "rm-life-expectancy", "ACME_1_x")
        left = json.loads(at.stored(key))
        await at.run("device", "set-life-expectancy", "OLD_2_y", "2027-01-01")
        await at.run("device", "rm-life-expectancy", "OLD_2_y")

        assert at.stored(at.leading_term.keys.entry("device/OLD_2_y")) is None
    assert kept["life_expectancy_min"] == "2027-01-01T00:00:00+00:00"
    assert kept["life_expectancy_max"] == "2027-02-01T00:00:00+00:00"
    assert kept["wear_level"] == 0.1
    assert left == {"wear_level": 0.1}


async def test_an_expectancy_that_cannot_be_is_refused():
    """No date, or it ends before it begins."""
    async with builtin_commands() as at:
        await at_work(at)
        answers = [
            await at.run("device", "set-life-expectancy", "ACME_1_x", "soon"),
            await at.run("device", "set-life-expectancy", "ACME_1_x", "2027-01-01", "2026-01-01"),
            await at.run("device", "set-life-expectancy", "none", "2027-01-01"),
        ]

    assert [-answer.retval for answer in answers] == [errno.EINVAL, errno.EINVAL, errno.ENOENT]


class FakeStream:
    """The stream of a daemon to which nothing is sent."""

    def configure(self, wanted):
        """Nothing is sent."""


@pytest.mark.parametrize("first", ["command", "wear"])
async def test_what_is_expected_and_how_worn_a_device_is_do_not_erase_each_other(first):
    """Both are computed while the other one is on its way, and both are acknowledged."""
    async with builtin_commands() as at:
        await at_work(at)
        opening = OpenRequest(kind="host", id="h1", host="h1", version="1", incarnation="1")
        device = Device(id="ACME_1_x", name="sda", path="", wear_level=0.5)
        at.fleet.set_status(at.fleet.open(opening, FakeStream()), DaemonStatus(devices=[device]))
        wear = WearLevelStore(
            at.fleet, at.leading_term.mirror, at.leading_term.keys, at.leading_term.fenced
        )
        at.leading_term.fenced._store = held = HeldStore(at.leading_term.store)
        writes = [
            at.run("device", "set-life-expectancy", "ACME_1_x", "2027-01-01"),
            wear.write_changed(),
        ]
        async with asyncio.TaskGroup() as tasks:
            for write in writes if first == "command" else writes[::-1]:
                tasks.create_task(write)
                await turn_the_loop()
            held.open.set()

        kept = json.loads(at.stored(at.leading_term.keys.entry("device/ACME_1_x")))
    assert kept["life_expectancy_min"] == "2027-01-01T00:00:00+00:00"
    assert kept["wear_level"] == 0.5

"""Documents about daemons and devices: Ceph's shapes, made once a change."""

import asyncio
import contextlib
import json

import pytest

from mgr.active.documents.fleet_documents import FleetDocuments
from mgr.active.fleet.wear import WearLevelStore
from mgr.cluster.daemon import DaemonStatus, Device, OpenRequest
from mgr.cluster.fleet import Fleet
from mgr.cluster.log import ClusterLog
from mgr.module_api.module import MgrModule
from tests.support.leading import leading
from tests.unit.active.conftest import discovered_module


class FakeStream:
    """The stream of a daemon, as far as nobody uses it."""

    def configure(self, wanted):
        """Nothing is sent."""

    def end(self, error):
        """Nobody listens."""


class Made:
    """A fleet, its documents, and the store beneath."""

    def __init__(self, term):
        self.term = term
        self.lines = {}
        self.fleet = Fleet(
            term.clock, ClusterLog(), term=term.term, name="mgr.a", on_refusal=lambda _: None
        )
        self.get = FleetDocuments(self.fleet, term.mirror, term.keys).get

    def join(self, kind, name, host="h1", incarnation="1", **metadata):
        """A daemon opens its stream."""
        line = self.lines[f"{kind}.{name}"] = FakeStream()
        opening = OpenRequest(
            kind=kind,
            id=name,
            host=host,
            version="1",
            metadata=metadata,
            incarnation=incarnation,
        )
        return self.fleet.open(opening, line)

    async def store(self, key, value):
        """Write an entry of the key/value store."""
        await self.term.fenced.put(self.term.keys.entry(key), json.dumps(value))


@contextlib.asynccontextmanager
async def fleet():
    async with leading() as term:
        yield Made(term)


async def test_the_service_map_names_every_daemon_by_its_type():
    """With Ceph's quirk: ``summary`` stands among the daemons."""
    async with fleet() as made:
        made.join("rgw", "eu.1", zone="eu")
        daemon = made.join("rgw", "us.1", host="h2")
        made.join("host", "h1")
        made.fleet.set_status(daemon, DaemonStatus(task_status={"sync": "half"}))

        shown = made.get("service_map")

    assert sorted(shown["services"]) == ["host", "rgw"]
    daemons = shown["services"]["rgw"]["daemons"]
    assert sorted(daemons) == ["eu.1", "summary", "us.1"]
    assert daemons["eu.1"]["metadata"] == {"zone": "eu", "hostname": "h1"}
    assert daemons["us.1"]["task_status"] == {"sync": "half"}
    assert set(daemons["us.1"]) == {
        "start_epoch", "start_stamp", "gid", "addr", "metadata", "task_status",
    }  # fmt: skip


async def test_a_document_is_made_once_a_change():
    """Unchanged it is the same object; what changes leaves the parts of the others alone."""
    async with fleet() as made:
        made.join("rgw", "a")
        first = made.get("service_map")["services"]
        again = made.get("service_map")["services"]
        made.join("rgw", "b")
        other = made.get("service_map")["services"]

    assert first is again
    assert other is not first
    assert other["rgw"]["daemons"]["a"] is first["rgw"]["daemons"]["a"]
    with pytest.raises(TypeError):
        other["rgw"]["daemons"]["a"]["addr"] = "x"


async def test_a_program_that_came_anew_has_another_number():
    """By which Ceph's modules tell a restart."""
    async with fleet() as made:
        made.join("rgw", "a")
        before = made.get("service_map")["services"]["rgw"]["daemons"]["a"]["gid"]
        made.join("rgw", "a", incarnation="2")
        after = made.get("service_map")["services"]["rgw"]["daemons"]["a"]["gid"]

    assert before != after


async def test_metadata_is_there_for_every_type_that_reports():
    """Ceph's own types are there without a daemon, any other is not."""
    async with fleet() as made:
        made.join("rgw", "a", zone="eu")

        assert made.get("rgw_metadata") == {"a": {"zone": "eu", "hostname": "h1"}}
        assert made.get("rgw_metadata") is made.get("rgw_metadata")
        assert made.get("osd_metadata") == {}
        assert made.get("nfs_metadata") is None
        made.fleet.forget("rgw.a")
        assert made.get("rgw_metadata") is None


async def test_a_device_is_put_together_from_whoever_reports_it_and_what_is_stored():
    """What is measured is newer than what is stored; what nobody reports any more is kept."""
    async with fleet() as made:
        host, osd = made.join("host", "h1"), made.join("osd", "1")
        made.fleet.set_status(
            host,
            DaemonStatus(
                devices=[Device(id="ACME_x", name="sda", path="/dev/sda", wear_level=0.5)]
            ),
        )
        made.fleet.set_status(
            osd, DaemonStatus(devices=[Device(id="ACME_x", name="sda", path="/dev/sda")])
        )
        await made.store("device/ACME_x", {"wear_level": 0.1, "life_expectancy_min": "2027"})
        await made.store("device/GONE_y", {"wear_level": 0.9})

        listed = made.get("devices")["devices"]
        one = made.get("device ACME_x")
        again = made.get("devices")["devices"]
        await made.store("device/GONE_y", {"wear_level": 0.95})
        changed = made.get("device GONE_y")

    assert [each["devid"] for each in listed] == ["ACME_x", "GONE_y"]
    assert one == {
        "device": {
            "devid": "ACME_x",
            "location": [{"host": "h1", "dev": "sda", "path": "/dev/sda"}],
            "daemons": ["host.h1", "osd.1"],
            "wear_level": 0.5,
            "life_expectancy_min": "2027",
        }
    }
    assert again is listed
    assert changed["device"]["wear_level"] == 0.95


async def test_a_device_nobody_knows_is_empty_and_other_names_are_none():
    """As in Ceph."""
    async with fleet() as made:
        assert made.get("device none") == {}
        assert made.get("devices") == {"devices": []}
        assert made.get("racks") is None


async def test_entries_that_hold_no_device_are_passed_over():
    """Anybody may write under ``device/``."""
    async with fleet() as made:
        await made.store("device/odd", [1])
        await made.term.fenced.put(made.term.keys.entry("device/worse"), "{")

        assert made.get("devices") == {"devices": []}


async def test_a_module_reads_the_fleet_that_reports(active):
    """From its own thread, without a crossing; nobody publishes under these names."""
    async with active(discovered_module("reader", MgrModule), enabled=["reader"]) as cluster:
        module = cluster.role._modules.instance_of("reader")
        daemon = cluster.role.fleet.open(
            OpenRequest(kind="rgw", id="a", host="h1", version="1", incarnation="1"), FakeStream()
        )
        cluster.role.fleet.set_status(
            daemon, DaemonStatus(devices=[Device(id="ACME_x", name="sda", path="")])
        )

        def work():
            return (
                list(module.get("service_map")["services"]),
                module.get("rgw_metadata"),
                module.get("device ACME_x")["device"]["daemons"],
                [(each["name"], each["state"]) for each in module.get_daemons()],
            )

        found = await asyncio.to_thread(work)
        listed = await cluster.ask("device", "ls")
        for name in ("service_map", "devices", "rgw_metadata"):
            with pytest.raises(ValueError, match="take another one"):
                await asyncio.to_thread(module.set_map, name, {})

    assert found == (["rgw"], {"a": {"hostname": "h1"}}, ["rgw.a"], [("rgw.a", "reporting")])
    assert "ACME_x" in listed.stdout


async def test_how_worn_a_device_is_outlives_whoever_measured_it():
    """Written when it has changed, not at every report; other fields of the record stay."""
    async with fleet() as made:
        wear = WearLevelStore(made.fleet, made.term.mirror, made.term.keys, made.term.fenced)
        await made.store("device/ACME_x", {"life_expectancy_min": "2027"})
        host = made.join("host", "h1")
        made.fleet.set_status(
            host,
            DaemonStatus(
                devices=[
                    Device(id="ACME_x", name="sda", path="", wear_level=0.5),
                    Device(id="NEW_y", name="sdb", path=""),
                ]
            ),
        )
        await wear.write_changed()
        before = await made.term.store.status()
        made.fleet.set_status(
            host, DaemonStatus(devices=[Device(id="ACME_x", name="sda", path="", wear_level=0.505)])
        )
        await wear.write_changed()
        after = await made.term.store.status()
        made.fleet.forget("host.h1")

        assert made.get("device ACME_x")["device"] == {
            "devid": "ACME_x",
            "location": [],
            "daemons": [],
            "wear_level": 0.5,
            "life_expectancy_min": "2027",
        }
        assert made.get("device NEW_y") == {}
    assert before == after

"""Documents of a real Ceph cluster: published by a module, in place of the empty ones."""

import json

import pytest

from mgr.module_api.module import MgrModule
from tests.unit.active.conftest import discovered_module


class Reader(MgrModule):
    """Wants Ceph's maps, as modules of Ceph do."""

    NOTIFY_TYPES = ("osd_map", "pg_summary")
    EFFECTS = "store"

    def __init__(self, *args):
        super().__init__(*args)
        self.received = []

    def notify(self, notify_type, notify_id):
        self.received.append((notify_type, notify_id))


class Publisher(MgrModule):
    """Stands for the module ``ceph``."""

    EFFECTS = "store"


@pytest.fixture
async def both(active):
    modules = [discovered_module("reader", Reader), discovered_module("ceph", Publisher)]
    async with active(*modules, enabled=["reader", "ceph"]) as cluster:
        cluster.reader = cluster.role._modules.instance_of("reader")
        cluster.publisher = cluster.role._modules.instance_of("ceph")
        yield cluster


def publish(cluster, **documents):
    return cluster.publisher._context._operations.set_ceph_documents(
        {name: json.dumps(document) for name, document in documents.items()}
    )


async def test_what_the_module_publishes_others_read(both):
    """And they are notified; what was not published stays empty."""
    assert both.reader.get("osd_map")["epoch"] == 0

    await publish(both, osd_map={"epoch": 7, "pools": []}, df={"pools": [1]})
    await both.until(lambda: both.reader.received)

    assert both.reader.received == [("osd_map", "")]
    assert both.reader.get("osd_map")["epoch"] == 7
    assert both.reader.get("df") == {"pools": [1]}
    assert both.reader.get("fs_map")["filesystems"] == []


async def test_metadata_of_daemons_is_read_by_name_and_by_host(both):
    """They do not report here, and are there all the same."""
    await publish(both, osd_metadata={"3": {"hostname": "h", "ceph_version": "v"}})

    assert both.reader.get_metadata("osd", "3") == {"hostname": "h", "ceph_version": "v"}
    assert both.reader.get_metadata("osd", "4") is None
    assert both.reader.get_server("h")["services"] == [
        {"type": "osd", "id": "3", "ceph_version": "v"}
    ]


async def test_they_end_with_the_module(both):
    """Nobody keeps them current then."""
    await publish(both, osd_map={"epoch": 7}, devices={"devices": [1]})
    assert both.reader.get("devices") == {"devices": [1]}

    both.role._on_module_stopped("reader")
    assert both.reader.get("osd_map")["epoch"] == 7
    both.role._on_module_stopped("ceph")

    assert both.reader.get("osd_map")["epoch"] == 0
    assert both.reader.get("devices") == {"devices": []}


@pytest.mark.parametrize(("name", "text"), [("mgr_map", "{}"), ("racks", "{}"), ("df", "{")])
async def test_only_documents_of_a_cluster_can_be_published(both, name, text):
    """Not those of the manager, nor maps of others; and they are JSON."""
    with pytest.raises(ValueError, match="Ceph cluster"):
        await both.publisher._context._operations.set_ceph_documents({name: text})

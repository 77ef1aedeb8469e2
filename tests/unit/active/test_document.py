"""Documents: dictionaries to everyone who reads, stone to everyone who writes."""

import copy
import json
import pickle

import msgspec
import pytest
import yaml

from mgr.cluster.frozen import freeze
from mgr.module_api.module import MgrModule
from tests.unit.active.conftest import discovered_module

PLAIN = {"a": [1, {"b": (2, 3)}], "c": {"d": None}}
EQUAL = {"a": [1, {"b": [2, 3]}], "c": {"d": None}}


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.update(a=1),
        lambda d: d.pop("a"),
        lambda d: d.__setitem__("a", 1),
        lambda d: d.__delitem__("a"),
        lambda d: d.setdefault("z", 1),
        lambda d: d.clear(),
        lambda d: d.__ior__({"z": 1}),
        lambda d: d["a"].append(1),
        lambda d: d["a"].sort(),
        lambda d: d["a"].__iadd__([1]),
        lambda d: d["a"][1].update(b=1),
    ],
)
def test_no_reader_changes_what_another_one_reads(change):
    """The error says what to do instead."""
    document = freeze(PLAIN)

    with pytest.raises(TypeError, match="deepcopy"):
        change(document)

    assert document == EQUAL


def test_a_document_is_a_dictionary_to_every_encoder():
    """Modules hand it on as it is."""
    document = freeze(PLAIN)

    assert json.loads(json.dumps(document)) == EQUAL
    assert msgspec.json.decode(msgspec.json.encode(document)) == EQUAL
    assert yaml.safe_load(yaml.safe_dump(document)) == EQUAL
    assert yaml.safe_load(yaml.dump(document)) == EQUAL
    assert pickle.loads(pickle.dumps(document)) == EQUAL


def test_a_copy_is_plain_and_may_be_changed():
    """Whoever wants one of his own takes it."""
    own = copy.deepcopy(freeze(PLAIN))

    own["a"][1]["b"].append(4)

    assert type(own) is dict
    assert own["a"][1]["b"] == [2, 3, 4]


class Reader(MgrModule):
    """Reads documents."""


async def test_the_map_of_managers_follows_what_it_shows(active):
    """Modules, addresses and availability; each change makes another map."""
    found = [
        discovered_module("reader", Reader),
        discovered_module("other", type("Other", (MgrModule,), {})),
    ]
    async with active(*found, enabled=["reader"]) as cluster:
        get = cluster.role._modules.instance_of("reader").get
        before = get("mgr_map")
        await cluster.switch("other", on=True)
        await cluster.until(lambda: "other" in get("mgr_map")["modules"])
        await cluster.role._fenced.put(cluster.keys.service("reader"), "http://x", cluster.lease)
        await cluster.until(lambda: get("mgr_map")["services"])
        after = get("mgr_map")
        # Other keys change all the time, the leader heartbeat four times a second.
        await cluster.put(cluster.keys.heartbeat, "1")
        cluster.role._publisher.map_changed()
        same = cluster.role._publisher.mgr_map()

    assert same["epoch"] == after["epoch"]
    assert before["modules"] == ["reader"]
    assert before["available"] is True
    assert before["active_name"] == "a"
    # What Ceph's tools wait for after they have switched a module.
    assert after["active_gid"] > before["active_gid"] > cluster.term
    assert after["services"] == {"reader": "http://x"}
    assert after["epoch"] > before["epoch"]
    [reader] = [m for m in after["available_modules"] if m["name"] == "reader"]
    assert reader["module_options"]["log_level"]["type"] == "str"


async def test_a_module_may_change_the_top_of_its_document_only(active):
    """Its own copy of the top costs nothing; what is below is everybody's."""
    async with active(discovered_module("reader", Reader), enabled=["reader"]) as cluster:
        get = cluster.role._modules.instance_of("reader").get
        own = get("mgr_map")
        own["mine"] = 1

        assert "mine" not in get("mgr_map")
        with pytest.raises(TypeError, match="deepcopy"):
            own["modules"].append("x")


async def test_health_is_text_in_a_field_as_in_ceph(active):
    """``json.loads(get('health')['json'])`` is what modules write."""
    async with active(discovered_module("reader", Reader), enabled=["reader"]) as cluster:
        get = cluster.role._modules.instance_of("reader").get
        await cluster.until(lambda: "MGR_NO_STANDBY" in get("health")["json"])

        assert json.loads(get("health")["json"])["status"] == "HEALTH_WARN"


async def test_options_are_shown_as_text(active):
    """Stored values where there are any, defaults elsewhere."""
    async with active(discovered_module("reader", Reader), enabled=["reader"]) as cluster:
        get = cluster.role._modules.instance_of("reader").get
        assert get("config")["mgr_tick_period"] == "2"

        await cluster.put(cluster.keys.option("mgr", "mgr_tick_period"), "7")
        await cluster.until(lambda: get("config")["mgr_tick_period"] == "7")

        assert get("modified_config_options")["options"] == ["mgr_tick_period"]
        assert get("config")["name"] == "mgr.a"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mgr_ips", {"ips": ["10.0.0.1"]}),
        ("devices", {"devices": []}),
        ("osd_metadata", {}),
        ("rgw_metadata", None),
        ("osd_map_of_mars", {}),
        ("config_of_mars", {}),
        ("mars", None),
    ],
)
async def test_what_is_not_there_is_answered_as_ceph_does(active, name, expected):
    """Empty documents, the prefix quirk, and None."""
    async with active(discovered_module("reader", Reader), enabled=["reader"]) as cluster:
        assert cluster.role._modules.instance_of("reader").get(name) == expected

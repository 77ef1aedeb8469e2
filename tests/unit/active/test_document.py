"""Documents: shared and read only inside the manager, the caller's own outside."""

import copy
import datetime as dt
import json
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
import yaml

from mgr.active.documents.empty import EMPTY_CEPH_DOCUMENTS
from mgr.cluster.frozen import freeze
from mgr.cluster.owned import owned
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


SHARED = {
    "services": {"host": {"daemons": {"a": {"gid": 1}}}},
    "mons": [{"name": "a"}, {"name": "b"}],
    "modules": ["x", "a"],
    "grid": [[1, 2], [3]],
}


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["services"].update(x="y"),
        lambda d: d["services"]["host"]["daemons"]["a"].pop("gid"),
        lambda d: d.get("services").setdefault("x", {}).update(y=1),
        lambda d: d.pop("services")["host"]["daemons"].clear(),
        lambda d: d.setdefault("mons", []).append(1),
        lambda d: d.popitem()[1][0].append(3),
        lambda d: dict(d)["services"]["host"].clear(),
        lambda d: {**d}["mons"][0].clear(),
        lambda d: (d | {"z": 1})["mons"][0].clear(),
        lambda d: ({"z": 1} | d)["mons"][0].clear(),
        lambda d: d.copy()["services"].clear(),
        lambda d: copy.copy(d)["services"].clear(),
        lambda d: [value.clear() for value in d.values()],
        lambda d: [value.clear() for _, value in d.items()],
        lambda d: [mon.__setitem__("rank", 1) for mon in d["mons"]],
        lambda d: [mon.clear() for mon in reversed(d["mons"])],
        lambda d: [mon.clear() for mon in sorted(d["mons"], key=str)],
        lambda d: d["mons"][-1].clear(),
        lambda d: d["mons"][:1][0].clear(),
        lambda d: d["mons"].pop()["name"].upper(),
        lambda d: (d["mons"] + [])[0].clear(),
        lambda d: (d["mons"] * 2)[3].clear(),
        lambda d: d["mons"].copy()[0].clear(),
        lambda d: copy.copy(d["mons"])[0].clear(),
        lambda d: d["modules"].sort(),
        lambda d: d["modules"].__iadd__(["z"]),
        lambda d: d["grid"][1].append(4),
    ],
)
def test_a_caller_changes_every_level_of_its_own_and_nobody_elses(change):
    """In whatever way it reads the level."""
    shared = freeze(SHARED)

    change(owned(shared))

    assert shared == SHARED
    assert json.dumps(owned(shared)) == json.dumps(SHARED)


def test_a_change_below_the_top_stays_in_the_callers_document():
    """A level that was read twice is the same object both times."""
    own = owned(freeze(SHARED))
    own["services"]["host"]["new"] = 1
    own["mons"][0]["rank"] = 0
    own["grid"][0] += [9]

    assert own["services"] is own["services"]
    assert own["services"]["host"]["new"] == 1
    assert [mon.get("rank") for mon in own["mons"]] == [0, None]
    assert own["grid"] == [[1, 2, 9], [3]]
    assert (own.get("none"), own.pop("none", 7)) == (None, 7)
    with pytest.raises(KeyError):
        own.pop("none")


@pytest.mark.parametrize("read", [lambda d: d, lambda d: [d.values(), list(d["mons"])] and d])
def test_what_a_caller_owns_is_a_dictionary_to_every_encoder(read):
    """Before and after its levels were read."""
    own = read(owned(freeze(SHARED)))

    assert own == SHARED
    assert json.loads(json.dumps(own)) == SHARED
    assert msgspec.json.decode(msgspec.json.encode(own)) == SHARED
    assert yaml.safe_load(yaml.safe_dump(own)) == SHARED
    assert type(pickle.loads(pickle.dumps(own))) is dict
    assert pickle.loads(pickle.dumps(own)) == SHARED
    copied = copy.deepcopy(own)
    assert (type(copied), type(copied["mons"]), copied) == (dict, list, SHARED)
    assert isinstance(own["mons"], list)


def test_two_threads_that_read_a_level_get_the_same_object():
    """As from a dictionary: a change of either is seen by both."""
    for _ in range(50):
        own = owned(freeze(SHARED))
        start = threading.Barrier(2)

        def read(own=own, start=start):
            start.wait(5)
            return own["services"]

        with ThreadPoolExecutor(2) as pool:
            first, second = pool.submit(read), pool.submit(read)
            assert first.result(5) is second.result(5)


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


async def test_a_module_may_change_every_document_at_every_level(active):
    """The manager's own, Ceph's empty ones, published ones; servers and schemas, too."""
    async with active(discovered_module("reader", Reader), enabled=["reader"]) as cluster:
        module = cluster.role._modules.instance_of("reader")
        await cluster.role.maps.set("racks", '{"a": {"b": []}}')
        names = [*EMPTY_CEPH_DOCUMENTS, *cluster.role._publisher.documents._makers]
        for name in [*names, "service_map", "devices", "osd_metadata", "device x", "racks"]:
            before = json.dumps(module.get(name))
            _spoil(module.get(name))
            assert json.dumps(module.get(name)) == before, name
        before = json.dumps(module.list_servers())
        _spoil(module.list_servers())

        assert json.dumps(module.list_servers()) == before


def _spoil(value):
    """Change every dictionary and list in ``value``."""
    if isinstance(value, dict):
        for inner in value.values():
            _spoil(inner)
        value["spoilt"] = 1
    elif isinstance(value, list):
        for inner in value:
            _spoil(inner)
        value.append("spoilt")


async def test_ceph_documents_have_texts_that_modules_can_use(active):
    """An empty text where a time, a release or the cluster's name is expected stops modules."""
    async with active(discovered_module("reader", Reader), enabled=["reader"]) as cluster:
        module = cluster.role._modules.instance_of("reader")
        mon_map, osd_map = module.get("mon_map"), module.get("osd_map")
        status = json.loads(module.get("mon_status")["json"])
        fsid = module.get_ceph_option("fsid")

        for document in (mon_map, osd_map, status["monmap"]):
            assert document["fsid"] == fsid != ""
            for field in ("created", "modified"):
                # As in Ceph's own ``str_to_datetime``.
                made = dt.datetime.strptime(document[field], "%Y-%m-%dT%H:%M:%S.%f%z")
                assert made < dt.datetime.now(dt.UTC)
        dt.datetime.strptime(module.get("pg_dump")["stamp"], "%Y-%m-%dT%H:%M:%S.%f%z")
        assert osd_map["require_min_compat_client"] >= "luminous"
        assert osd_map["require_osd_release"] == mon_map["min_mon_release_name"] == "tentacle"


async def test_options_that_ceph_modules_read_when_they_start_are_there(active):
    """Paths are paths; what Ceph leaves empty is empty, not absent."""
    async with active(discovered_module("reader", Reader), enabled=["reader"]) as cluster:
        module = cluster.role._modules.instance_of("reader")
        for name in ("mgr_data", "keyring", "run_dir", "crash_dir", "cephadm_path"):
            assert module.get_ceph_option(name).startswith("/"), name
        assert module.get_ceph_option("mon_host")
        assert module.get_foreign_ceph_option("mon", "public_network") == ""
        assert module.get_foreign_ceph_option("osd.1", "osd_memory_target_autotune") is False
        assert module.get_foreign_ceph_option("mon", "osd_pool_default_pg_num") == 32


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

"""The map wrappers: usable on nothing, and right about what they are given."""

import sys
import types

import pytest

from mgr.module_api.ceph.bindings import NoCephError
from mgr.module_api.ceph.crush_map import CRUSHMap
from mgr.module_api.ceph.osd_map import OSDMap
from mgr.module_api.module import MgrModule
from tests.support.context import run

TREE = {
    "devices": [{"id": 0, "name": "osd.0", "class": "ssd"}, {"id": 1, "name": "osd.1"}],
    "buckets": [
        {"id": -1, "name": "default", "weight": 0x30000, "items": [{"id": -2, "weight": 0x30000}]},
        {
            "id": -2,
            "name": "host",
            "weight": 0x30000,
            "items": [{"id": 0, "weight": 0x10000}, {"id": 1, "weight": 0x20000}],
        },
    ],
    "rules": [
        {"rule_id": 7, "rule_name": "r", "steps": [{"op": "take", "item": -1}, {"op": "emit"}]}
    ],
}


class Module(MgrModule):
    """Nothing of its own."""


@pytest.fixture
def pair():
    return run(Module)


def test_an_empty_map_answers_everything(pair):
    """So that code written for a cluster runs without one."""
    osdmap = pair[0].get_osdmap()
    inc = osdmap.new_incremental()
    inc.set_crush_compat_weight_set_weights({0: 1.0})
    crush = osdmap.get_crush()

    assert (osdmap.get_epoch(), osdmap.get_crush_version(), inc.get_epoch()) == (0, 0, 1)
    assert osdmap.get_pools() == osdmap.get_pools_by_name() == osdmap.map_pool_pgs_up(1) == {}
    assert osdmap.calc_pg_upmaps(inc, 1) == osdmap.balance_primaries(1, inc) == 0
    assert osdmap.get_pools_by_take(-1) == crush.find_takes() == crush.find_roots() == []
    assert osdmap.pg_to_up_acting_osds(1, 0)["up"] == []
    assert osdmap.pool_raw_used_rate(1) == 0
    assert osdmap.get_ec_profile("default") is None
    assert osdmap.get_require_osd_release() == "tentacle"
    assert osdmap.apply_incremental(inc).get_epoch() == 1
    assert crush.get_item_name(-1) is crush.get_item_weight(-1) is crush.get_rule("r") is None
    assert crush.get_take_weight_osd_map(-1) == crush.device_class_counts() == {}
    assert not CRUSHMap.have_default_choose_args(crush.dump())
    assert CRUSHMap.get_default_choose_args(crush.dump()) == []


def test_a_hierarchy_is_read_from_its_dump():
    """Names, weights and what lies below what."""
    crush = CRUSHMap(TREE)

    assert (crush.get_item_name(-2), crush.get_item_name(0)) == ("host", "osd.0")
    assert (crush.get_item_weight(-2), crush.get_item_weight(1)) == (3.0, 2.0)
    assert (crush.find_takes(), crush.find_roots()) == ([-1], [-1])
    assert crush.get_take_weight_osd_map(-1) == {0: pytest.approx(1 / 3), 1: pytest.approx(2 / 3)}
    assert crush.get_osds_under(-1) == [0, 1]
    assert (crush.get_rule_root("r"), crush.get_rule_by_id(7)["rule_name"]) == (-1, "r")
    assert crush.device_class_counts() == {"ssd": 1, None: 1}


def test_a_change_is_applied_to_a_copy():
    """The map itself stays, and its dump is the caller's own."""
    osdmap = OSDMap.build_simple(epoch=3, num_osd=2)
    inc = osdmap.new_incremental()
    inc.set_osd_reweights({1: 0.5})

    changed = osdmap.apply_incremental(inc)
    osdmap.dump()["osds"].clear()

    assert [osd["weight"] for osd in changed.dump()["osds"]] == [1.0, 0.5]
    assert [osd["weight"] for osd in osdmap.dump()["osds"]] == [1.0, 1.0]
    assert changed.get_epoch() == 4


def test_pools_are_made_by_commands(pair):
    """Which the manager refuses where there is no Ceph."""
    module, context = pair

    assert not module.have_enough_osds()
    module.create_mgr_pool()
    assert [each[0]["prefix"] for each in context.commands] == [
        "osd pool create",
        "osd pool application enable",
    ]
    assert module.get_quiesce_leader_gid(1) is None


def test_a_real_map_says_where_placement_groups_are():
    """As the cluster reports them; and how much a pool really stores."""
    pgs = [
        {"pgid": "1.a", "up": [0, 1], "acting": [1], "up_primary": 0, "acting_primary": 1},
        {"pgid": "11.a", "up": [1], "acting": [1], "up_primary": 1, "acting_primary": 1},
    ]
    pools = [
        {"pool": 1, "pool_name": "r", "size": 3, "type": 1, "crush_rule": 7},
        {"pool": 2, "pool_name": "e", "size": 6, "type": 3, "erasure_code_profile": "p"},
    ]
    dump = {
        "epoch": 1, "pools": pools, "osds": [],
        "erasure_code_profiles": {"p": {"k": "4", "m": "2"}},
    }  # fmt: skip
    osdmap = OSDMap(dump, TREE, lambda: pgs)

    assert osdmap.map_pool_pgs_up(1) == {"1.a": [0, 1]}
    assert osdmap.pg_to_up_acting_osds(1, 10) == {
        "up": [0, 1], "acting": [1], "up_primary": 0, "acting_primary": 1,
    }  # fmt: skip
    assert osdmap.pg_to_up_acting_osds(1, 11)["up"] == []
    assert osdmap.get_pools_by_take(-1) == [1]
    assert osdmap.get_pools_by_take(-2) == []
    assert (osdmap.pool_raw_used_rate(1), osdmap.pool_raw_used_rate(2)) == (3.0, 1.5)


def test_ceph_is_missed_at_its_first_use(pair, monkeypatch):
    """With a sentence, and not when the module is imported."""
    monkeypatch.setitem(sys.modules, "rados", None)

    with pytest.raises(NoCephError, match="'rados' are not on this host"):
        _ = pair[0].rados


def test_a_configuration_is_missed_at_its_first_use(pair, monkeypatch, tmp_path):
    """Bindings alone are no cluster."""
    monkeypatch.setitem(sys.modules, "rados", types.ModuleType("rados"))
    monkeypatch.setenv("CEPH_CONF", str(tmp_path / "none"))

    with pytest.raises(NoCephError, match="cannot be read"):
        _ = pair[0].rados


@pytest.fixture
def cluster(pair, monkeypatch, tmp_path):
    """Bindings that connect, a configuration, and what was made and closed."""
    configuration = tmp_path / "ceph.conf"
    configuration.write_text("")
    bindings = types.ModuleType("rados")
    made = []

    class Rados:
        def __init__(self, **given):
            made.append(given)
            self.connected = 0
            self.conf = {"client_mount_timeout": "300", "rados_mon_op_timeout": "7"}

        def conf_get(self, name):
            return self.conf.get(name, "0")

        def conf_set(self, name, value):
            self.conf[name] = value

        def get_addrs(self):
            return "127.0.0.1:0/7"

        def connect(self):
            assert "rados_osd_op_timeout" in self.conf
            if "refused" in made[-1].get("name", ""):
                raise PermissionError("refused")
            self.connected += 1

        def shutdown(self):
            closed.append(self)

    closed = []
    bindings.Rados = Rados
    monkeypatch.setitem(sys.modules, "rados", bindings)
    monkeypatch.setenv("CEPH_CONF", str(configuration))
    return pair, configuration, made, closed


def test_a_cluster_is_connected_once(cluster):
    """And every part of the module has the same connection, whose calls have limits."""
    (module, _), configuration, made, _ = cluster

    assert module.rados is module.rados
    assert module.rados.connected == 1
    assert made == [{"conffile": str(configuration), "name": "mgr.a"}]
    assert module.rados.conf == {
        "client_mount_timeout": "10",
        "rados_mon_op_timeout": "7",  # what the operator has chosen
        "rados_osd_op_timeout": "30",
    }


def test_the_settings_name_the_cluster_and_the_user(cluster, tmp_path):
    """They come before what the environment says; programs of Ceph get the same."""
    (module, context), _, made, closed = cluster
    configuration = tmp_path / "other.conf"
    configuration.write_text("")
    context.native["mgr_ceph_conf"] = str(configuration)
    context.native["mgr_ceph_name"] = "client.refused"
    context.native["mgr_ceph_keyring"] = "/keys"

    with pytest.raises(PermissionError):
        _ = module.rados

    assert made == [
        {"conffile": str(configuration), "name": "client.refused", "conf": {"keyring": "/keys"}}
    ]
    assert len(closed) == 1
    assert not context.ceph_clients

    context.native["mgr_ceph_name"] = "client.welcome"
    assert module.rados.connected
    [(_, address)] = context.ceph_clients
    assert address == "127.0.0.1:0/7"
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\necho $CEPH_CONF $@\n")
    program.chmod(0o755)
    _, output, _ = module.tool_exec([str(program), "-x"])
    assert output == f"{configuration} -k /keys -n client.welcome -x\n"

"""Counters as modules of every generation read them."""

import pytest

from mgr.module_api.command import CLICommandBase
from mgr.module_api.module import MgrModule
from mgr.module_api.parts.counters import CountersMixin
from tests.support.context import run

AVERAGE = MgrModule.PERFCOUNTER_LONGRUNAVG | MgrModule.PERFCOUNTER_TIME


class Module(MgrModule):
    """Of Reef or before."""


class New(MgrModule):
    """Of Tentacle: it has a registry of its own."""

    CLICommand = CLICommandBase.make_registry_subtype("NewCommand")


@pytest.fixture
def seen():
    """A module, and a fleet with one daemon that counts."""
    module, context = run(Module)
    fleet = context.fleet
    fleet.add("osd.0", "one")
    fleet.declare("osd.0", "osd.op", type=MgrModule.PERFCOUNTER_COUNTER, priority=5)
    fleet.declare("osd.0", "osd.lat", type=AVERAGE, priority=10)
    fleet.declare("osd.0", "osd.dull", priority=2)
    fleet.count("osd.0", "osd.op", 1.0, 10)
    fleet.count("osd.0", "osd.op", 2.0, 12)
    fleet.count("osd.0", "osd.lat", 2.0, 30, 3)
    return module, fleet


def test_points_come_from_old_to_new_under_the_path(seen):
    """As lists, in both generations' names."""
    module, _ = seen

    assert module.get_counter("osd", "0", "osd.op") == {"osd.op": [[1.0, 10], [2.0, 12]]}
    assert module.get_unlabeled_counter("osd", "0", "osd.op") == module.get_counter(
        "osd", "0", "osd.op"
    )
    assert module.get_latest_counter("osd", "0", "osd.op") == {"osd.op": [2.0, 12]}
    assert module.get_latest_unlabeled_counter("osd", "0", "osd.lat") == {"osd.lat": [2.0, 30, 3]}
    assert module.get_latest("osd", "0", "osd.op") == 12
    assert module.get_latest_avg("osd", "0", "osd.lat") == (30, 3)


def test_what_is_not_known_is_empty():
    """Never an error: exporters ask before anything has reported."""
    module, _ = run(Module)

    assert module.get_counter("osd", "0", "x") == {"x": []}
    assert module.get_latest_unlabeled_counter("osd", "0", "x") == {"x": []}
    assert module.get_unlabeled_counter_latest("osd", "0", "x") == 0
    assert module.get_unlabeled_counter_latest_avg("osd", "0", "x") == (0, 0)
    assert module.get_counter_latest("osd", "0", "k", "c", []) == 0
    assert module.get_counter_latest_avg("osd", "0", "k", "c", []) == (0, 0)
    assert module.get_latest_counter("osd", "0", "k", "c", []) == {"k": []}
    assert module.get_perf_schema("osd", "0") == module.get_unlabeled_perf_schema("", "") == {}
    assert module.get_unlabeled_perf_counters() == module.get_perf_counters() == {}


def test_labels_that_are_no_list_are_answered_with_false():
    """As in ceph-mgr."""
    module, _ = run(Module)

    assert module.get_latest_counter("osd", "0", "k", "c", ("a", "b")) is False


def test_every_counter_of_enough_priority_comes_with_its_value(seen):
    """A long-running average has a count as well."""
    module, _ = seen

    found = module.get_all_perf_counters(prio_limit=5)

    assert set(found) == {"osd.0"}
    assert set(found["osd.0"]) == {"osd.op", "osd.lat"}
    assert found["osd.0"]["osd.op"]["value"] == 12
    assert (found["osd.0"]["osd.lat"]["value"], found["osd.0"]["osd.lat"]["count"]) == (30, 3)
    assert module.get_unlabeled_perf_counters(services=("mds",)) == {}


def test_the_short_name_means_labels_to_modules_of_tentacle():
    """And paths to older ones: the same call has two shapes."""
    shapes = {}
    for cls in (Module, New):
        module, context = run(cls)
        context.fleet.declare("osd.0", "osd.op")
        context.fleet.declare_labelled("osd.0", "osd", [{"labels": {}, "counters": {}}])
        shapes[cls] = module.get_perf_schema("osd", "0")["osd.0"]

    assert set(shapes[Module]) == {"osd.op"}
    assert shapes[New] == {"osd": [{"labels": {}, "counters": {}}]}


def test_counters_with_labels_come_with_their_values():
    """One below the limit stands there without, as in ceph-mgr."""
    module, context = run(New)
    labels = {"image": "a"}
    schema = {"type": AVERAGE, "priority": 8}
    counters = {"lat": schema, "dull": {**schema, "priority": 0}}
    context.fleet.add("mon.a")
    context.fleet.declare_labelled("mon.a", "rbd", [{"labels": labels, "counters": counters}])
    context.fleet.count_labelled("mon.a", "rbd", "lat", labels, 1.0, 6, 2)
    pairs = list(labels.items())

    [family] = module.get_perf_counters(services=("mon",))["mon.a"]["rbd"]

    assert family["labels"] == labels
    assert family["counters"] == {
        "lat": {**schema, "value": 6, "count": 2},
        "dull": {**schema, "priority": 0},
    }
    assert module.get_counter_latest("mon", "a", "rbd", "lat", pairs) == 6
    assert module.get_counter_latest_avg("mon", "a", "rbd", "lat", pairs) == (6, 2)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (CountersMixin.PERFCOUNTER_U64, "gauge"),
        (CountersMixin.PERFCOUNTER_COUNTER | CountersMixin.PERFCOUNTER_U64, "counter"),
        (AVERAGE, "counter"),
        (CountersMixin.PERFCOUNTER_HISTOGRAM, "histogram"),
        (CountersMixin.PERFCOUNTER_HISTOGRAM | CountersMixin.PERFCOUNTER_COUNTER, ""),
    ],
)
def test_the_kind_of_a_counter_is_named(seen, kind, name):
    """Whether it is time or a number plays no part."""
    assert seen[0]._stattype_to_str(kind) == name


@pytest.mark.parametrize(
    ("daemon", "path", "labelled"),
    [
        ("osd.0", "osd.op", ("osd.op", ("ceph_daemon",), ("osd.0",))),
        ("rgw.a", "rgw.req", ("rgw.req", ("instance_id",), ("a",))),
        (
            "rbd-mirror.x",
            "rbd_mirror_image_pool/ns/image.replay_bytes",
            (
                "rbd_mirror_image_replay_bytes",
                ("ceph_daemon", "pool", "namespace", "image"),
                ("rbd-mirror.x", "pool", "ns", "image"),
            ),
        ),
        (
            "rbd-mirror.x",
            "rbd_mirror_image_pool/image.replay",
            (
                "rbd_mirror_image_replay",
                ("ceph_daemon", "pool", "namespace", "image"),
                ("rbd-mirror.x", "pool", "", "image"),
            ),
        ),
    ],
)
def test_a_path_is_taken_apart_into_labels(seen, daemon, path, labelled):
    """As exporters name their series."""
    assert seen[0]._perfpath_to_path_labels(daemon, path) == labelled


def test_values_and_units_are_formatted_as_exporters_do(seen):
    """Times come in nanoseconds and are seconds."""
    module, _ = seen

    assert module._perfvalue_to_value(module.PERFCOUNTER_TIME, 1_500_000_000) == 1.5
    assert module._perfvalue_to_value(module.PERFCOUNTER_U64, 7) == 7
    assert (module._unit_to_str(module.BYTES), module._unit_to_str(module.NONE)) == ("B/s", "/s")
    with pytest.raises(ValueError, match='bad unit "9"'):
        module._unit_to_str(9)

"""The reconciler: its properties over any fleet, and a few cases by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modules.agents.reconciler import (
    FAILED,
    READY,
    STOPPED,
    Daemon,
    Host,
    HostState,
    Placement,
    Service,
    plan,
    states,
    strays,
)
from modules.agents.steps import Action, Slot

NAMES = [f"h{number}" for number in range(6)]
LABELS = ["fast", "rack1"]
ROUNDS_MAX = 200
STATES = [READY, FAILED, "starting", "unready", STOPPED]


@st.composite
def placements(draw):
    return Placement(
        hosts=tuple(draw(st.lists(st.sampled_from(NAMES), max_size=4, unique=True))),
        labels=tuple(draw(st.lists(st.sampled_from(LABELS), max_size=1))),
        pattern=draw(st.sampled_from(["", "h*", "h[0-3]"])),
        count=draw(st.one_of(st.none(), st.integers(0, 8))),
        per_host=draw(st.integers(1, 2)),
    )


@st.composite
def services(draw, name="web", **fixed):
    slots = st.builds(Slot, st.sampled_from([*NAMES, "gone"]), st.integers(0, 2))
    fields = {
        "placement": draw(placements()),
        "slots": tuple(draw(st.lists(slots, max_size=8, unique=True))),
        "max_unavailable": draw(st.integers(1, 3)),
        "held": draw(st.booleans()),
        "removed": draw(st.booleans()),
        **fixed,
    }
    return Service(name=name, kind="process", revision="2", **fields)


@st.composite
def hosts(draw):
    found = []
    for name in draw(st.lists(st.sampled_from(NAMES), unique=True)):
        there = draw(st.lists(st.sampled_from(["web", "db", "alien"]), max_size=3, unique=True))
        found.append(
            Host(
                name=name,
                state=draw(st.sampled_from(HostState)),
                labels=frozenset(draw(st.lists(st.sampled_from(LABELS), max_size=2))),
                kinds=frozenset(draw(st.sampled_from([("process",), ()]))),
                draining=draw(st.booleans()),
                daemons={
                    Slot(name, number).daemon(service): Daemon(
                        service,
                        draw(st.sampled_from(["1", "2"])),
                        draw(st.sampled_from(STATES)),
                    )
                    for service in there
                    for number in range(draw(st.integers(1, 2)))
                },
            )
        )
    return found


def carried_out(fleet, steps):
    """The fleet after ``steps``: what was deployed is ready."""
    by_name = {host.name: host for host in fleet}
    for step in steps:
        host = by_name[step.host]
        daemons = dict(host.daemons)
        if step.action is Action.REMOVE:
            del daemons[step.daemon]
        else:
            state = READY if step.action is Action.DEPLOY else STOPPED
            revision = step.revision or daemons[step.daemon].revision
            daemons[step.daemon] = Daemon(step.service, revision, state)
        by_name[step.host] = replace(host, daemons=daemons)
    return list(by_name.values())


def converged(service, fleet):
    """The service, the fleet and the last plan once there is nothing to do; and all steps."""
    every = []
    for _ in range(ROUNDS_MAX):
        made = plan([service], fleet)[service.name]
        service = replace(service, slots=made.slots)
        if not made.steps:
            return service, fleet, made, every
        every += made.steps
        fleet = carried_out(fleet, made.steps)
    raise AssertionError(f"no end of steps: {made}")


def count_ready(service, fleet):
    return sum(
        each.service == service.name and each.state == READY
        for host in fleet
        for each in host.daemons.values()
    )


# -- properties of every plan -----------------------------------------------------------------


def orders_only_hosts_that_report(service, fleet, made):
    ready = {host.name for host in fleet if host.state is HostState.READY}
    assert {step.host for step in made.steps} <= ready


def one_slot_one_daemon(service, fleet, made):
    assert len(set(made.slots)) == len(made.slots)
    daemons = [step.daemon for step in made.steps]
    assert len(set(daemons)) == len(daemons)


def only_where_it_may(service, fleet, made):
    by_name = {host.name: host for host in fleet}
    if service.removed:
        return
    for slot in made.slots:
        host = by_name[slot.host]
        assert service.placement.fits(host)
        assert not host.draining
        assert host.state is not HostState.LOST
        assert slot.number < service.placement.per_host
        if slot not in service.slots:
            assert host.state is HostState.READY
            assert "process" in host.kinds


def never_more_than_wanted(service, fleet, made):
    if service.placement.count is not None and not service.removed:
        assert len(made.slots) + made.unplaced == service.placement.count


def moves_nothing_without_reason(service, fleet, made):
    by_name = {host.name: host for host in fleet}
    if service.removed or service.placement.count is None:
        return
    stays = {
        slot
        for slot in service.slots
        if slot.number < service.placement.per_host
        and (host := by_name.get(slot.host)) is not None
        and host.state is not HostState.LOST
        and not host.draining
        and (host.state is HostState.UNKNOWN or "process" in host.kinds)
        and service.placement.fits(host)
    }
    if len(stays) <= service.placement.count:
        assert stays <= set(made.slots)
    else:
        assert set(made.slots) <= stays


def replaces_nothing_while_held_or_failed(service, fleet, made):
    present = {n: d for host in fleet for n, d in host.daemons.items()}
    if service.held or made.failed:
        for step in made.steps:
            if step.action is Action.DEPLOY and step.daemon in present:
                assert present[step.daemon].state == STOPPED


def removes_only_its_own(service, fleet, made):
    present = {n: d for host in fleet for n, d in host.daemons.items()}
    for step in made.steps:
        if step.action is Action.REMOVE:
            assert present[step.daemon].service == service.name


PROPERTIES = [
    orders_only_hosts_that_report,
    one_slot_one_daemon,
    only_where_it_may,
    never_more_than_wanted,
    moves_nothing_without_reason,
    replaces_nothing_while_held_or_failed,
    removes_only_its_own,
]


@pytest.mark.parametrize("holds", PROPERTIES, ids=lambda each: each.__name__)
@given(service=services(), fleet=hosts())
@settings(max_examples=60, deadline=None)
def test_every_plan(holds, service, fleet):
    """Whatever is wanted and whatever is."""
    holds(service, fleet, plan([service], fleet)["web"])


@given(service=services(), fleet=hosts(), data=st.data())
@settings(max_examples=80, deadline=None)
def test_the_order_of_the_input_does_not_matter(service, fleet, data):
    """The same question has the same answer, on every manager."""
    other = replace(service, name="db", revision="1")
    shuffled = data.draw(st.permutations(fleet))

    assert plan([service, other], fleet) == plan([other, service], shuffled)


@given(service=services(), fleet=hosts())
@settings(max_examples=80, deadline=None)
def test_a_plan_that_is_carried_out_comes_to_an_end(service, fleet):
    """And then every host that reports has exactly what is wanted of it, unless that failed."""
    service, fleet, made, _ = converged(service, fleet)

    slots = set(made.slots)
    for host in fleet:
        if host.state is not HostState.READY:
            continue
        for name, each in host.daemons.items():
            if each.service == "web":
                assert (
                    name in {slot.daemon("web") for slot in slots} or made.unplaced or not made.done
                )
        wanted = {slot.daemon("web") for slot in slots if slot.host == host.name}
        if not service.removed:
            assert wanted <= host.daemons.keys()
    assert plan([service], fleet)["web"].steps == ()


@given(service=services(held=False, removed=False), fleet=hosts())
@settings(max_examples=80, deadline=None)
def test_a_rolling_update_keeps_enough_ready(service, fleet):
    """At each moment at least all but ``max_unavailable``, if that many were ready before."""
    fleet = [
        replace(
            host,
            state=HostState.READY,
            draining=False,
            kinds=frozenset({"process"}),
            daemons={},
        )
        for host in fleet
    ]
    old, fleet, _, _ = converged(replace(service, revision="1"), fleet)
    assert count_ready(old, fleet) == len(old.slots)
    now = replace(old, revision="2")
    wanted = len(old.slots)

    for _ in range(ROUNDS_MAX):
        made = plan([now], fleet)["web"]
        if not made.steps:
            break
        # All at once, and nothing of it is ready yet.
        down = {step.daemon for step in made.steps}
        left = sum(
            each.state == READY and name not in down
            for host in fleet
            for name, each in host.daemons.items()
        )
        assert left >= wanted - now.max_unavailable
        fleet = carried_out(fleet, made.steps)
    assert made.done or not wanted
    assert made.ready == wanted


@given(service=services(held=False, removed=False), fleet=hosts(), host=st.sampled_from(NAMES))
@settings(max_examples=80, deadline=None)
def test_a_drain_keeps_enough_ready_and_empties_the_host(service, fleet, host):
    """What has another place is there before it leaves here."""
    fleet = [
        replace(
            each, state=HostState.READY, draining=False, kinds=frozenset({"process"}), daemons={}
        )
        for each in fleet
    ]
    service, fleet, _, _ = converged(
        replace(service, placement=replace(service.placement, count=3)), fleet
    )
    wanted = len(service.slots)
    fleet = [replace(each, draining=each.name == host) for each in fleet]

    for _ in range(ROUNDS_MAX):
        made = plan([service], fleet)["web"]
        service = replace(service, slots=made.slots)
        if not made.steps:
            break
        down = {step.daemon for step in made.steps}
        left = count_ready(service, fleet) - sum(
            name in down for each in fleet for name in each.daemons
        )
        assert left >= min(wanted, len(made.slots) + made.unplaced) - service.max_unavailable
        fleet = carried_out(fleet, made.steps)
    if made.unplaced <= service.max_unavailable:
        assert not any(each.daemons for each in fleet if each.name == host)


# -- cases ------------------------------------------------------------------------------------


def ready(name, *daemons, **fields):
    found = {each: Daemon("web", "1", READY) for each in daemons}
    return Host(name=name, kinds=frozenset({"process"}), daemons=found, **fields)


def web(**fields):
    return Service(
        **{"name": "web", "kind": "process", "placement": Placement(), "revision": "1", **fields}
    )


def test_daemons_go_where_the_fewest_are():
    """Of all services together."""
    busy = web(name="db", slots=(Slot("a", 0),), placement=Placement(hosts=("a",)))
    made = plan([busy, web(placement=Placement(count=1))], [ready("a"), ready("b")])

    assert made["web"].slots == (Slot("b", 0),)


def test_a_port_is_had_by_one_service_of_a_host():
    """Who has it keeps it, without a slot while it runs; another one comes when it is free."""
    fleet, port = [ready("a"), ready("b"), ready("c")], frozenset({80})
    old = web(ports=port, slots=(Slot("a", 0), Slot("b", 0)), placement=Placement(count=2))
    new = web(name="again", ports=port)
    some = web(name="some", ports=port, placement=Placement(count=2))
    made = plan([new, old], fleet)
    assert made["web"].slots == old.slots
    assert made["again"].slots == (Slot("c", 0),)
    assert made["again"].short() == "another service has its ports on a and 1 more"
    made = plan([some, old, replace(new, slots=(Slot("c", 0),))], fleet)
    assert (made["some"].slots, made["some"].unplaced) == ((), 2)
    assert "2 daemons have no host that fits; another service has" in made["some"].short()

    running = [ready("a", "web.a-0"), ready("b"), ready("c")]
    made = plan([new, replace(old, slots=(), removed=True)], running)
    assert made["again"].slots == (Slot("b", 0), Slot("c", 0))
    made = plan([new, replace(old, slots=(), removed=True)], fleet)
    assert [slot.host for slot in made["again"].slots] == ["a", "b", "c"]
    assert made["again"].short() == ""
    assert len(plan([web(name="x", ports=frozenset({81})), old], fleet)["x"].slots) == 3


def test_of_two_new_services_with_one_port_the_first_by_name_has_it():
    """Whatever order they come in, and a plan that was carried out stays as it is."""
    fleet, port = [ready("a")], frozenset({80})
    both = [web(name="x", ports=port), web(name="y", ports=port)]
    made = plan(both, fleet)
    assert made == plan(both[::-1], fleet)
    assert (made["x"].slots, made["y"].slots) == ((Slot("a", 0),), ())

    both = [replace(each, slots=made[each.name].slots) for each in both]
    assert {name: each.slots for name, each in plan(both, fleet).items()} == {
        name: each.slots for name, each in made.items()
    }


def test_a_failed_daemon_of_the_new_version_stops_the_update():
    """The others keep the old one."""
    fleet = [
        replace(ready("a"), daemons={"web.a-0": Daemon("web", "2", FAILED, "exited with 1")}),
        ready("b", "web.b-0"),
    ]
    made = plan([web(revision="2")], fleet)["web"]

    assert made.steps == ()
    assert made.failed == {"web.a-0": "exited with 1"}


def test_a_stopped_daemon_stays_stopped_and_counts_as_done():
    """Until an operator starts it."""
    service = web(stopped=frozenset({"web.a-0"}))
    fleet = [ready("a", "web.a-0")]
    [step] = plan([service], fleet)["web"].steps
    assert step.action is Action.STOP

    fleet = carried_out(fleet, [step])
    assert plan([service], fleet)["web"].done
    [step] = plan([web()], fleet)["web"].steps
    assert (step.action, step.revision) == (Action.DEPLOY, "1")


def test_a_removed_service_waits_for_hosts_that_are_silent():
    """They still have its daemons."""
    service = web(removed=True, slots=(Slot("a", 0), Slot("b", 0)))
    fleet = [ready("a"), replace(ready("b", "web.b-0"), state=HostState.LOST)]
    made = plan([service], fleet)["web"]
    assert (made.steps, made.done, made.slots) == ((), False, (Slot("b", 0),))

    fleet[1] = replace(fleet[1], state=HostState.READY)
    [step] = plan([service], fleet)["web"].steps
    assert step.action is Action.REMOVE
    assert plan([service], carried_out(fleet, [step]))["web"].done


@pytest.mark.parametrize(
    ("silent_s", "filling", "found"),
    [
        ({"a": 0, "b": 0, "c": 0}, False, "ready ready ready"),
        ({"a": 0, "b": 5, "c": 0}, False, "ready unknown ready"),
        ({"a": 0, "b": 60, "c": 0}, False, "ready unknown ready"),
        ({"a": 0, "b": 61, "c": 0}, False, "ready lost ready"),
        ({"a": 0, "b": 61, "c": 0}, True, "ready unknown ready"),
        ({"a": 0, "b": 61, "c": 61}, False, "ready unknown unknown"),
        ({}, False, ""),
    ],
)
def test_a_host_is_lost_after_its_grace_and_not_all_at_once(silent_s, filling, found):
    """Nor while the fleet comes back: then nothing is known."""
    made = states(silent_s, grace_s=60, filling=filling, lost_max=0.34)

    assert " ".join(each.value for each in made.values()) == found


def test_daemons_of_unknown_services_are_strays():
    """They are named, and no plan touches them."""
    fleet = [replace(ready("a"), daemons={"x.a-0": Daemon("x", "1", READY)})]

    assert strays([web()], fleet) == {"a": ["x.a-0"]}

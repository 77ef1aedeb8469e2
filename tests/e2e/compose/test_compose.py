"""deploy/compose.yaml as a user runs it: broken in every way docker can, asked from outside.

The tests run in this order on one stack; each leaves three healthy managers behind.
"""

from __future__ import annotations

import json

import pytest
import yaml

from tests.e2e.compose.caller import Asking, Caller
from tests.e2e.compose.images import named_images
from tests.e2e.compose.stack import ADMIN, CHAOS, COMPOSE, KILL, LOOK, NAMES
from tests.support.cluster import wait_for
from tests.support.tree import ROOT


def test_the_engine_has_every_image_that_the_files_name(engine, image_settings):
    """Pulled, or stood in for from Debian's packages; only etcd's may be of another release."""
    there = engine.docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").split()

    missing = [name for name in named_images() if name not in there]

    assert [name for name in missing if "/etcd:" not in name] == []
    assert not missing or image_settings["ETCD_IMAGE"] in there


def test_one_manager_leads_and_every_other_names_it(stack):
    """``up --wait`` is enough: one is active, and nobody outside is told otherwise."""
    stack.transcript.section("Inspect the cluster")
    active = stack.settled()

    shown = stack.as_written(LOOK)

    assert f"mgr: {active}(active" in shown
    assert shown.count(f'"active":"{active}"') == 2
    seen = [stack.seen(name) for name in NAMES]
    assert [each.leads for each in seen].count(True) == 1
    assert {each.active for each in seen} == {active}


def test_the_command_line_outside_follows_the_active_from_any_manager(stack):
    """Whichever manager is asked, and through the load balancer: the same answer."""
    stack.transcript.section("Ask from outside")
    active = stack.settled()

    for address in (*stack.hosts, stack.balanced_grpc):
        answer = stack.typed(f"MGR_HOSTS={address} mgrctl hello Ada")
        assert answer.strip() == "Hello, Ada!"

    with stack.client(stack.balanced_grpc) as client:
        assert client.status().name == active
    assert stack.get(f"{stack.balanced_http}/active").json()["active"] == active


def test_a_standby_redirects_to_an_address_that_leads_somewhere_from_outside(stack):
    """The page of a module and the manager's own: ``curl -L`` of a standby shows the active's."""
    stack.transcript.section("Be redirected")
    active = stack.settled()
    wait_for(
        lambda: stack.typed(f"curl -sf --cacert {ADMIN}/ca.crt {stack.pages[active]}", check=False),
        "the module's page",
    )

    for name in set(NAMES) - {active}:
        page = stack.typed(f"curl -sL --cacert {ADMIN}/ca.crt --max-time 10 {stack.pages[name]}")
        own = stack.get(f"{stack.http[name]}/", follow_redirects=True, timeout=10)

        assert f"served by manager {active}" in page
        assert own.status_code == 200
        assert str(own.url).startswith(stack.http[active])


def test_a_killed_active_is_replaced_and_no_command_is_lost(stack):
    """A power cut: guard and worker at once. Commands go on, each is applied at most once."""
    stack.transcript.section("Kill the leader, inspect again")
    first = stack.settled()

    with Caller(stack.hosts, stack.tls) as caller:
        shown = stack.as_written(KILL)
        second = stack.active()

    assert second != first
    assert f'"active":"{second}"' in shown
    caller.check(unclear_max=1)
    stack.transcript.saw(caller.received())
    assert stack.settled() == second


def test_a_frozen_active_loses_leadership_and_notices_when_it_thaws(stack):
    """A standby leads when the lease is over; thawed, the old one sends clients there."""
    stack.transcript.section("Freeze the leader")
    first = stack.settled()
    term = stack.seen(first).term

    with Caller(stack.hosts, stack.tls) as caller:
        stack.compose(f"pause {first}")
        second = stack.active(other_than=first)
        stack.typed(f"curl -s --cacert {ADMIN}/ca.crt {stack.http[second]}/active; echo")
        stack.compose(f"unpause {first}")
        stack.never_leads(first, term=term)

    caller.check(unclear_max=1)
    stack.transcript.saw(caller.received())
    assert stack.settled() == second


def test_an_active_without_a_network_stops_leading_and_comes_back(stack):
    """The cable is out: it answers nobody as the active, not even itself, before another leads."""
    stack.transcript.section("Pull the cable of the leader")
    first = stack.settled()
    name, term = stack.container(first), stack.seen(first).term

    with Caller(stack.hosts, stack.tls) as caller:
        stack.typed(f"docker network disconnect {stack.network} {name}")
        second = stack.active(other_than=first)
        stack.typed(f"curl -s --cacert {ADMIN}/ca.crt {stack.http[second]}/active; echo")
        alone = stack.typed(f"{COMPOSE} exec {first} mgr-probe active", check=False)
        stack.typed(f"docker network connect --alias {first} {stack.network} {name}")
        stack.never_leads(first, term=term)
    stack.compose("up -d --wait")

    assert not alone.startswith("200")
    caller.check(unclear_max=1, refused_max=2)
    stack.transcript.saw(caller.received())
    assert stack.settled() == second
    assert stack.seen(first).active == second


@pytest.mark.parametrize("which", ["a follower", "the leader"])
def test_the_loss_of_one_etcd_changes_nothing(stack, which):
    """Whichever of three it is: the same manager leads in the same term and answers."""
    stack.transcript.section(f"Stop one etcd: {which}")
    active = stack.settled()
    term = stack.seen(active).term
    leader = leading_etcd(stack)
    chosen = (
        leader
        if which == "the leader"
        else next(name for name in ("etcd1", "etcd2", "etcd3") if name != leader)
    )

    with Caller(stack.hosts, stack.tls) as caller:
        stack.compose(f"stop {chosen}")
        stack.execute("config-key", "set", "while", "away")
        stack.compose(f"start {chosen}")
        stack.compose("up -d --wait")

    caller.check()
    stack.transcript.saw(caller.received())
    assert stack.seen(active).leads
    assert stack.seen(active).term == term


def leading_etcd(stack):
    every = "http://etcd1:2379,http://etcd2:2379,http://etcd3:2379"
    shown = stack.engine.docker(
        *("exec", stack.container("etcd1"), "etcdctl", "--endpoints", every),
        *("endpoint", "status", "-w", "json"),
    )
    return next(
        each["Endpoint"].removeprefix("http://").removesuffix(":2379")
        for each in json.loads(shown[shown.index("[") :])
        if each["Status"]["leader"] == each["Status"]["header"]["member_id"]
    )


def test_a_rolling_restart_under_load_fails_no_command(stack):
    """Each manager in turn, the active among them: it hands over before it ends."""
    stack.transcript.section("Rolling restart under load")
    stack.settled()

    with Caller(stack.hosts, stack.tls) as caller:
        for name in NAMES:
            stack.compose(f"restart {name}")
            stack.compose("up -d --wait")

    caller.check()
    stack.transcript.saw(caller.received())
    assert caller.longest_s < 5, "a hand-over took as long as a lost lease"
    stack.settled()


def test_the_load_balancer_leads_to_the_successor_at_once(stack):
    """Whoever asks without pause while the active hands over is refused for a moment at most."""
    stack.transcript.section("Hand over, seen through the load balancer")
    first = stack.settled()
    asked = Asking(f"{stack.balanced_http}/active", stack.trust)
    led_to = {stack.get(asked.url).json()["active"] for _ in range(9)}
    received = {stack.get(asked.url).status_code for _ in range(9)}

    with Caller((stack.balanced_grpc,), stack.tls) as caller, asked:
        stack.mgrctl("mgr fail")
        second = stack.active(other_than=first)
        wait_for(lambda: asked.last == second, "the load balancer to lead to the successor", 10)

    assert (led_to, received) == ({first}, {200})
    caller.check()
    stack.transcript.saw(caller.received())
    stack.transcript.saw(asked.received())
    assert asked.refused_s < 5
    stack.settled()


def test_a_manager_runs_unprivileged_on_a_root_that_nobody_writes(stack):
    """What compose.yaml promises is what the kernel says of the process."""
    inside = stack.engine.docker(
        *("exec", stack.container("mgr1"), "sh", "-c"),
        "cat /proc/self/status; touch /opt/mgr/x 2>&1; echo $PYTHONSAFEPATH; ls /opt/mgr/bin",
    )

    assert "Uid:\t7400\t7400\t7400\t7400" in inside
    assert "CapEff:\t0000000000000000" in inside
    assert "NoNewPrivs:\t1" in inside
    assert "Read-only file system" in inside
    assert "pip" not in inside.split("NoNewPrivs")[1]


def test_an_active_whose_packets_to_etcd_vanish_gives_way(stack):
    """No error and no answer, as no ``docker`` command does it: for this there is the overlay."""
    stack.transcript.section("Cut the leader off from etcd, silently")
    stack.typed(f"{CHAOS} up -d --build --wait", limit_s=240)

    for cut in ("etcd", "answers"):
        first = stack.settled()
        neighbour, term = first.replace("mgr", "chaos"), stack.seen(first).term
        with Caller(stack.hosts, stack.tls) as caller:
            stack.typed(f"{CHAOS} exec {neighbour} chaos cut {cut}")
            stack.active(other_than=first)
            alone = stack.typed(
                f"curl -s --cacert {ADMIN}/ca.crt -w ' %{{http_code}}' {stack.http[first]}/active",
                check=False,
            )
            stack.typed(f"{CHAOS} exec {neighbour} chaos heal")
            stack.never_leads(first, term=term)

        assert not alone.endswith("200")
        caller.check(unclear_max=1, refused_max=2)
        stack.transcript.saw(caller.received())


def test_lost_packets_are_no_reason_to_fail_over(stack):
    """One of ten to and from etcd is lost: TCP's work, and nobody else's."""
    stack.transcript.section("Lose packets")
    active = stack.settled()
    term = stack.seen(active).term
    neighbour = active.replace("mgr", "chaos")

    with Caller(stack.hosts, stack.tls) as caller:
        stack.typed(f"{CHAOS} exec {neighbour} chaos lose 10 etcd")
        wait_for(lambda: len(caller.calls) > 50, "fifty commands")
        stack.typed(f"{CHAOS} exec {neighbour} chaos show | grep numgen")
        stack.typed(f"{CHAOS} exec {neighbour} chaos heal")

    caller.check()
    stack.transcript.saw(caller.received())
    assert stack.seen(stack.settled()).term == term


def test_the_load_balancer_of_kubernetes_reads_its_settings(stack, tmp_path):
    """HAProxy itself takes the text in the manifest: only names are missing here."""
    documents = yaml.safe_load_all((ROOT / "deploy/kubernetes/active.yaml").read_text())
    text = next(d["data"]["haproxy.cfg"] for d in documents if d["kind"] == "ConfigMap")

    said = stack.engine.docker(
        *("run", "--rm", "-i", "--network", "none", "--user", "7400:7400"),
        *("-v", f"{stack.project}_managers:/var/lib/mgr:ro", "haproxy:3.0", "haproxy", "-c"),
        *("-f", "/dev/stdin"),
        data=text,
        check=False,
    )

    assert "Fatal" not in said
    assert "could not resolve" in said

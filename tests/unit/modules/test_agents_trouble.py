"""What stops or misleads the back end ``agents``: limits of the store, refusals, placements."""

from __future__ import annotations

import errno
import json

import pytest

from tests.support.fake_hosts import RUNS, FakeHosts, Orchestrated


@pytest.fixture
def it(mgr_host):
    found = Orchestrated(mgr_host, FakeHosts(["a", "b", "c"]))
    with found.commands:
        yield found


def test_large_services_are_stored_in_parts_and_read_again(it):
    """One that is larger than an entry of the store may be, in two versions, blocks nobody."""
    text = "\u20ac" * 30_000
    it.apply(files={"f": text}, placement={"count": 1})
    it.apply(files={"f": text + "2"}, placement={"count": 1})
    it.apply(service="small")
    assert [it.service(name)["state"] for name in ("web", "small")] == ["stable", "stable"]
    assert {"service/web", "service/web/1", "service/web/3"} <= it.host.store.keys()

    it.fail_over()
    assert it.service()["spec"]["files"] == {"f": text + "2"}
    assert it.service()["revision"] == "2"
    it.orch("rm web")
    assert not [key for key in it.host.store if key.startswith("service/web")]


def test_a_write_of_unknown_outcome_is_read_again(it, monkeypatch):
    """What a command reported as failed, and arrived all the same, is not overlooked."""
    commit = it.module.commit_store

    def unclear(changes):
        commit(changes)
        raise OSError("no answer")

    monkeypatch.setattr(it.module, "commit_store", unclear)
    assert it.commands.run("orch apply", inbuf=json.dumps(RUNS)).retval < 0
    monkeypatch.setattr(it.module, "commit_store", commit)
    it.settle()

    assert it.service()["state"] == "stable"


def test_what_keeps_failing_is_shown_until_it_succeeds(it, monkeypatch):
    """Not at once: an election of etcd takes a moment."""
    commit = it.module.commit_store

    def broken(changes):
        raise OSError("no space")

    it.orch("pause")
    monkeypatch.setattr(it.module, "commit_store", broken)
    it.hosts.daemons["d"] = {}
    it.host.context.fleet.add("host.d", "d")
    it.hosts.report("d")
    it.module.attempt()
    assert set(it.host.context.health) == {"ORCH_PAUSED"}
    it.clock.advance(11)
    it.module.attempt()
    assert it.host.context.health["ORCH_STUCK"]["detail"] == ["OSError: no space"]

    monkeypatch.setattr(it.module, "commit_store", commit)
    it.module.attempt()
    assert set(it.host.context.health) == {"ORCH_PAUSED"}


def test_health_checks_of_the_term_before_end_when_nothing_is_wrong(it, monkeypatch):
    """The module says so itself; what it inherited would stay for two minutes."""
    said = []
    monkeypatch.setattr(type(it.module), "set_health_checks", lambda _, checks: said.append(checks))

    it.fail_over()

    assert said == [{}]


def test_a_refused_service_is_removed_at_once(it):
    """The refusal is remembered for a while, but for the service only."""
    it.hosts.refuses = dict.fromkeys("abc", "not here")
    it.apply()
    assert it.service()["state"] == "failed"

    it.orch("rm web")

    assert it.orch("ls") == "No services reported"
    assert it.host.context.health == {}


def test_a_placement_that_nothing_fits_is_shown(it):
    """By the dry run, by apply and by health: an unknown host, no label, too many."""
    for placement, why in (
        ({"hosts": ["a", "zz"]}, "there is no host zz"),
        ({"labels": ["none"]}, "no host fits its placement"),
        ({"count": 100_000}, "99997 daemons have no host that fits"),
    ):
        text = json.dumps({**RUNS, "placement": placement})
        assert why in it.orch("apply --dry-run", text)
        assert why in it.orch("apply", text)
        assert it.host.context.health["ORCH_UNPLACED"]["detail"] == [f"web: {why}"]
    it.orch("rm web")
    assert it.host.context.health == {}


def test_hosts_that_never_took_orders_are_not_lost(it):
    """And they do not count among those that would be too many."""
    for name in ("x", "y"):
        it.orch(f"host add {name}")
    it.apply(placement={"count": 2})
    assert "takes no orders" in it.orch("host ls")

    it.hosts.lose("a")
    it.settle()
    it.clock.advance(61)
    it.settle()

    assert it.host.context.health["ORCH_HOST_LOST"]["detail"] == ["a is lost"]
    assert {"web.b-0", "web.c-0"} <= set(it.hosts.all())
    it.hosts.lose("b")
    it.settle()
    it.clock.advance(61)
    it.settle()
    checks = it.host.context.health
    assert checks["ORCH_HOSTS_SILENT"]["detail"] == ["a is silent", "b is silent"]
    assert "ORCH_HOST_LOST" not in checks


def test_an_upgrade_of_an_unknown_service_names_it(it):
    """Not the image."""
    assert "'nobody'" in it.orch("upgrade start x --services=nobody", retval=-errno.ENOENT)


def test_a_service_that_is_only_scaled_goes_on_running(it):
    """No daemon that stays is started again, nor one that was restarted; it can be undone."""
    it.apply(placement={"count": 1})
    it.orch("daemon restart web.a-0")
    assert it.hosts.all() == {"web.a-0": "1.1 ready"}
    it.apply(placement={"count": 2}, max_unavailable=2)
    assert it.hosts.all() == {"web.a-0": "1.1 ready", "web.b-0": "1 ready"}
    assert it.service()["state"] == "stable"

    it.hosts.bad = {"/bin/bad"}
    it.apply(placement={"count": 2}, command=["/bin/bad"])
    assert it.service()["state"] == "rolled_back"
    assert it.hosts.all() == {"web.a-0": "1 ready", "web.b-0": "1 ready"}
    it.apply(placement={"count": 3})
    assert it.hosts.all() == dict.fromkeys(("web.a-0", "web.b-0", "web.c-0"), "1 ready")
    assert it.service()["state"] == "stable"


def test_what_is_removed_is_there_until_its_host_says_that_it_is_gone(it):
    """Its service and its host as well; a word of a newer agent is shown as it is."""
    it.apply(placement={"hosts": ["b"]})
    it.hosts.slow = {"b"}
    it.orch("host drain b")
    it.orch("rm web")

    assert it.service()["state"] == "removing"
    assert "removing" in it.orch("ps")
    assert "web.b-0" in it.orch("host rm b", retval=-errno.EBUSY)
    it.hosts.daemons["b"]["web.b-0"][2] = "dreaming"
    it.hosts.report("b")
    it.settle()
    assert "dreaming" in it.orch("ps")

    it.hosts.daemons["b"].clear()
    it.hosts.report("b")
    it.settle()
    assert it.orch("ls") == "No services reported"
    it.orch("host rm b")


def test_a_host_whose_daemons_have_nowhere_to_go_is_not_removed(it):
    """No more are given up than may be down; with force the rest is the operator's."""
    it.apply(placement={"hosts": ["a", "b"], "count": 2}, max_unavailable=1)
    it.orch("host drain a")
    it.orch("host drain b")
    assert it.hosts.all() == {"web.b-0": "1 ready"}
    assert "2 daemons have no host" in str(it.host.context.health["ORCH_UNPLACED"])

    why = it.orch("host rm b", retval=-errno.EBUSY)
    assert "web.b-0 among them: wait: 'orch ps b'" in why
    it.orch("host add b")
    assert it.hosts.all() == {"web.b-0": "1 ready"}
    it.orch("host rm b --force")
    assert "b " not in it.orch("host ls")


def test_daemons_are_removed_all_or_none(it):
    """A name that nobody knows is said first; one that is placed where it was is started again."""
    it.apply(placement={"hosts": ["a", "b"]})

    assert "'web.c-0'" in it.orch("daemon rm web.a-0 web.b-0 web.c-0", retval=-errno.ENOENT)
    assert it.hosts.all() == {"web.a-0": "1 ready", "web.b-0": "1 ready"}
    it.orch("daemon rm web.a-0 web.b-0")
    assert it.hosts.all() == {"web.a-0": "1.1 ready", "web.b-0": "1.1 ready"}
    assert it.service()["state"] == "stable"


def test_a_service_under_a_new_name_waits_for_its_ports(it):
    """It is said by the dry run, by apply and by health; it comes when the old one is gone."""
    it.apply(ports=[8080])
    text = json.dumps({**RUNS, "service": "shop", "ports": [8080]})
    why = "another service has its ports on a and 2 more"
    assert why in it.orch("apply --dry-run", text)
    assert why in it.orch("apply", text)
    assert it.host.context.health["ORCH_UNPLACED"]["detail"] == [f"shop: {why}"]
    assert set(it.hosts.all()) == {"web.a-0", "web.b-0", "web.c-0"}

    it.orch("rm web")
    assert set(it.hosts.all()) == {"shop.a-0", "shop.b-0", "shop.c-0"}
    assert it.host.context.health == {}

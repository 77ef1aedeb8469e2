"""The back end ``agents`` and the commands ``orch``, over hosts that answer in this process."""

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


def test_a_service_is_placed_where_it_fits(it):
    """By label, pattern, count; on all hosts without any."""
    it.apply()
    assert it.hosts.all() == dict.fromkeys(("web.a-0", "web.b-0", "web.c-0"), "1 ready")
    assert (it.service()["state"], it.service()["running"]) == ("stable", 3)

    it.orch("host label add b shop")
    it.apply(placement={"labels": ["shop"]})
    assert it.hosts.all() == {"web.b-0": "1 ready"}
    it.apply(placement={"count": 2, "host_pattern": "[ac]"})
    assert set(it.hosts.all()) == {"web.a-0", "web.c-0"}
    it.orch("rm web")
    assert it.hosts.all() == {}
    assert it.host.store.keys() & {"service/web"} == set()


def test_a_bad_version_stops_after_one_daemon_and_goes_back(it):
    """Health says why until a version works."""
    it.apply()
    it.hosts.bad.add("/bin/bad")
    sent = len(it.hosts.orders)
    it.apply(command=["/bin/bad"])

    assert it.hosts.all() == dict.fromkeys(("web.a-0", "web.b-0", "web.c-0"), "1 ready")
    assert len(it.hosts.orders) - sent == 2  # one daemon there and back
    assert it.service()["state"] == "rolled_back"
    [line] = it.host.health["ORCH_UPDATE_FAILED"]["detail"]
    assert "exited with 1" in line

    it.apply(command=["/bin/good"])
    assert it.service()["state"] == "stable"
    assert it.host.health == {}
    assert it.host.context.progress == {}


def test_without_a_version_to_go_back_to_the_update_stops(it):
    """Also with ``rollback: false``."""
    it.hosts.bad.add("/bin/bad")
    it.apply(command=["/bin/bad"], placement={"count": 1})
    assert it.service()["state"] == "failed"
    assert it.host.health.keys() == {"ORCH_UPDATE_FAILED", "ORCH_DAEMON_FAILED"}

    it.apply(placement={"count": 1})
    it.apply(command=["/bin/bad"], placement={"count": 1}, rollback=False)
    assert it.service()["state"] == "failed"


def test_daemons_of_a_lost_host_move_after_its_grace_and_leave_when_it_is_back(it):
    """Not before, and not two at a time."""
    it.apply(placement={"count": 2})
    assert set(it.hosts.all()) == {"web.a-0", "web.b-0"}
    it.hosts.lose("b")
    it.settle()
    it.clock.advance(59)
    it.settle()
    assert "web.c-0" not in it.hosts.all()

    it.clock.advance(2)
    it.settle()
    assert set(it.hosts.all()) == {"web.a-0", "web.b-0", "web.c-0"}
    assert "ORCH_HOST_LOST" in it.host.health
    it.hosts.bring_back("b")
    it.settle()
    assert set(it.hosts.all()) == {"web.a-0", "web.c-0"}
    assert it.host.health == {}


def test_nothing_moves_while_the_fleet_comes_back_or_most_hosts_are_lost(it):
    """A manager that has just begun knows nothing."""
    it.apply(placement={"count": 1})
    it.hosts.lose("a")
    it.host.context.documents["fleet_status"] = {"filling": True}
    it.settle()
    it.clock.advance(100)
    it.settle()
    assert set(it.hosts.all()) == {"web.a-0"}

    it.hosts.bring_back("a")
    it.host.context.documents["fleet_status"] = {"filling": False}
    it.settle()
    it.hosts.lose("a")
    it.hosts.lose("b")
    it.settle()
    it.clock.advance(100)
    it.settle()
    assert set(it.hosts.all()) == {"web.a-0"}


def test_a_failover_sends_nothing_twice(it):
    """What was begun goes on; what is done stays; unknown hosts wait."""
    it.apply()
    sent = list(it.hosts.orders)
    it.fail_over()
    assert it.hosts.orders == sent
    assert it.service()["state"] == "stable"

    it.hosts.deaf = {"a", "b", "c"}
    it.apply(command=["/bin/web", "2"])
    it.hosts.deaf = set()
    it.fail_over()
    assert it.hosts.all() == dict.fromkeys(("web.a-0", "web.b-0", "web.c-0"), "2 ready")
    daemons = [daemon for _, _, _, daemon in it.hosts.orders[len(sent) :]]
    assert sorted(daemons) == ["web.a-0", "web.b-0", "web.c-0"]


def test_an_order_that_did_not_arrive_is_repeated_under_its_key(it):
    """After a pause, not twice a second."""
    it.hosts.deaf = {"a"}
    it.apply(placement={"hosts": ["a"]})
    before = it.module._sender.orders
    it.hosts.deaf = set()
    it.settle()
    assert it.hosts.orders == []

    it.clock.advance(3)
    it.settle()
    assert [each[2:] for each in it.hosts.orders] == [("deploy", "web.a-0")]
    assert it.module._sender.orders == before


def test_a_host_is_drained_and_removed(it):
    """Its daemons run elsewhere first."""
    it.apply(placement={"count": 2})
    it.orch("host rm a", retval=-errno.EBUSY)
    it.orch("host drain a")
    assert set(it.hosts.all()) == {"web.b-0", "web.c-0"}
    actions = [(host, action) for host, _, action, _ in it.hosts.orders[2:]]
    assert actions == [("c", "deploy"), ("a", "remove")]

    it.orch("host rm a")
    assert "a " not in it.orch("host ls")
    it.orch("host add a 10.0.0.1 shop")
    [found] = [h for h in json.loads(it.orch("host ls --format=json")) if h["hostname"] == "a"]
    assert (found["addr"], found["labels"], found["status"]) == ("10.0.0.1", ["shop"], "")


def test_a_refusal_of_a_host_is_shown_and_not_repeated_at_once(it):
    """The host's own settings decide."""
    it.hosts.refuses["a"] = "this host does not allow '/bin/web'"
    it.apply(placement={"hosts": ["a"]})

    assert len(it.hosts.orders) == 1
    assert "does not allow" in it.host.health["ORCH_DAEMON_FAILED"]["detail"][0]
    assert it.service()["state"] == "failed"
    del it.hosts.refuses["a"]
    it.clock.advance(61)
    it.settle()
    assert it.service()["state"] == "stable"


def test_secrets_reach_only_hosts_with_the_service(it):
    """By reference: a specification has the name only; a new value is an update."""
    wrong = json.dumps({**RUNS, "secrets": {"TOKEN": "nobody"}})
    assert "there is no secret" in it.orch("apply", wrong, retval=-errno.EINVAL)
    assert it.host.run("orch secret set db", inbuf="first").retval == 0
    it.apply(secrets={"TOKEN": "db"}, placement={"hosts": ["b"]})
    assert [(h, c["secrets"]) for h, c in it.hosts.configs] == [("b", {"TOKEN": "first"})]

    it.host.run("orch secret set db", inbuf="second")
    it.settle()
    assert it.hosts.configs[-1][1]["secrets"] == {"TOKEN": "second"}
    assert it.hosts.all() == {"web.b-0": "2 ready"}
    for words in ("ls --export", "ls --format=json", "ps --format=json"):
        assert "second" not in it.orch(words)
    assert json.loads(it.host.run("orch secret ls").stdout) == {"db": ["web"]}
    assert it.host.run("orch secret rm db").retval == -errno.EBUSY
    it.orch("rm web")
    assert it.host.run("orch secret rm db").retval == 0


def test_daemons_are_stopped_started_restarted_and_placed_again(it):
    """Each alone, or all of a service."""
    it.apply(placement={"count": 1})
    it.orch("daemon stop web.a-0")
    assert it.hosts.all() == {"web.a-0": "1 stopped"}
    it.orch("daemon start web.a-0")
    it.orch("daemon restart web.a-0")
    assert it.hosts.all() == {"web.a-0": "1.1 ready"}
    it.orch("restart web")
    assert it.hosts.all() == {"web.a-0": "1.2 ready"}
    it.orch("stop web")
    it.orch("start web")
    it.orch("daemon rm web.a-0")
    assert len(it.hosts.all()) == 1
    it.orch("daemon stop web.z-0", retval=-errno.ENOENT)
    it.orch("stop nobody", retval=-errno.ENOENT)


def test_strays_are_reported_and_removed_on_request(it):
    """Nobody else touches them."""
    it.hosts.daemons["c"]["old.c-0"] = ["old", "1", "ready", 0, ""]
    it.hosts.report("c")
    it.settle()
    assert it.host.health["ORCH_STRAY_DAEMON"]["detail"] == ["c: old.c-0"]
    assert "old.c-0" in it.orch("ps")

    it.orch("daemon rm old.c-0")
    assert it.hosts.all() == {}
    assert it.host.health == {}


def test_a_dry_run_shows_the_first_steps_and_changes_nothing(it):
    """As a table, or as data."""
    text = json.dumps({**RUNS, "placement": {"count": 2}})
    steps = json.loads(it.orch("apply --dry-run --format=json", text))

    assert [(each["action"], each["host"]) for each in steps] == [("deploy", "a"), ("deploy", "b")]
    assert it.hosts.orders == []
    assert json.loads(it.orch("ls --format=json")) == []


def test_all_specifications_are_taken_or_none(it):
    """Documents of YAML, or a list; and what is exported is what was applied."""
    both = "service: x\nkind: process\ncommand: [/bin/x]\n---\nservice: y\nkind: proces\n"
    assert "y: Invalid enum value 'proces'" in it.orch("apply", both, retval=-errno.EINVAL)
    assert it.orch("ls") == "No services reported"

    it.orch("apply", both.replace("proces\n", "process\ncommand: [/bin/y]\n"))
    exported = it.orch("ls --export")
    it.orch("rm x")
    it.orch("rm y")
    it.orch("apply", exported)
    assert it.service("y")["state"] == "stable"
    assert "unchanged" in it.orch("apply", exported)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "words",
        "a: &a 1\nb: *a",
        json.dumps({**RUNS, "service": "a b"}),
        json.dumps({**RUNS, "command": ["web"]}),
        json.dumps({**RUNS, "image": "x"}),
        json.dumps({**RUNS, "kind": "container"}),
        json.dumps({**RUNS, "probe": {}}),
        json.dumps({**RUNS, "files": {"../x": ""}}),
        json.dumps({**RUNS, "secrets": {"A": "x"}, "environment": {"A": "x"}}),
        json.dumps({**RUNS, "unknown": 1}),
        json.dumps([RUNS, RUNS]),
        "[" * 5000,
        "---\na\n" * 1001,
        "!!int 'x'",
        'service: web\nkind: process\ncommand: [/bin/web]\nenvironment: {A: "\\ud800"}',
        "service: web\nkind: process\ncommand: [/bin/web]\nservice: other",
        "service: web\nkind: process\ncommand: [/bin/web]\nenvironment: {A: x, A: y}",
        json.dumps({**RUNS, "command": ["/bin/web", "\0"]}),
        json.dumps({**RUNS, "files": {"a": "", "a/b": ""}}),
        json.dumps({**RUNS, "files": {"a\nb": ""}}),
        json.dumps({**RUNS, "files": {"a": "\x7f\u20ac" * 120_000}}),
        json.dumps({**RUNS, "files": {"a/" * 100_000 + "a": ""}}),
        json.dumps({**RUNS, "probe": {"command": ["true"]}}),
        json.dumps({**RUNS, "probe": {"http": "65536/health"}}),
        json.dumps({**RUNS, "probe": {"http": "0/health"}}),
        json.dumps({**RUNS, "ports": [8080, 8080]}),
        json.dumps({**RUNS, "ports": [8080], "placement": {"count_per_host": 2}}),
        json.dumps({"service": "web", "kind": "container", "image": "a b"}),
        json.dumps(
            {"service": "web", "kind": "container", "image": "x", "environment": {"A": "1\n2"}}
        ),
        json.dumps({"service": "web", "kind": "container", "image": "--privileged"}),
    ],
)
def test_what_is_no_specification_is_refused(it, text):
    """With what is wrong."""
    assert it.orch("apply", text, retval=-errno.EINVAL)
    assert it.host.store.keys() == {"host/a", "host/b", "host/c"}


@pytest.mark.parametrize(
    "number",
    ["22:22", "1:" * 300_000 + "1", "!!int '1:1'", "1:2.5", "9" * 1_000_000, "!!float '1:1'"],
)
def test_numbers_are_short_and_of_base_ten(it, number):
    """In YAML 1.1 the first is 1342, and the second takes half a minute."""
    said = it.orch("apply", f"service: web\nports: [\n {number}]", retval=-errno.EINVAL)

    assert "in line 3 is no number here: put it in quotes" in said
    assert len(said) < 200


def test_orders_and_updates_are_paused(it):
    """All of them, or those of an update; ``stop`` goes back."""
    it.apply()
    it.orch("pause")
    it.apply(command=["/bin/web", "2"])
    assert set(it.hosts.all().values()) == {"1 ready"}
    assert "ORCH_PAUSED" in it.host.health
    it.orch("upgrade pause")
    it.orch("resume")
    assert set(it.hosts.all().values()) == {"1 ready"}
    assert json.loads(it.orch("upgrade status"))["is_paused"]
    it.orch("upgrade stop")
    assert set(it.hosts.all().values()) == {"1 ready"}
    assert it.service()["state"] == "rolled_back"
    it.orch("upgrade resume", retval=-errno.ENOENT)


def test_a_host_is_ok_to_stop_while_enough_daemons_are_left(it):
    """One of each service, unless it says otherwise."""
    it.apply(placement={"count": 2})
    it.orch("host ok-to-stop a")
    it.hosts.daemons["b"]["web.b-0"][2] = "unready"
    it.hosts.report("b")
    it.settle()
    assert "web" in it.orch("host ok-to-stop a", retval=-errno.EBUSY)


def test_without_a_back_end_commands_name_the_next_step(it):
    """Or with one that is no back end."""
    assert "Backend: agents" in it.orch("status")
    assert "not an orchestrator" in it.orch("set backend hello", retval=-errno.ENOENT)
    it.orch("set backend agents")
    del it.commands.neighbours["agents"]
    it.commands.module._stopped.set()
    assert "does not run" in it.orch("ls", retval=-errno.EAGAIN)
    it.orch("set backend")
    assert "orch set backend" in it.orch("ls", retval=-errno.ENOENT)


def test_many_large_orders_are_sent_in_several_messages(it, monkeypatch):
    """A message has a limit."""
    monkeypatch.setattr("modules.agents.sender.BYTES_MAX", 1000)
    text = "\n---\n".join(
        json.dumps({**RUNS, "service": f"s{n}", "files": {"f": "x" * 600}}) for n in range(4)
    )
    it.orch("apply", text)

    assert len(it.hosts.all()) == 12
    assert it.hosts.messages >= 12


def test_a_host_whose_name_cannot_be_used_is_left_out(it):
    """The others go on."""
    it.hosts.daemons["a..b"] = {}
    it.host.context.fleet.add("host.a..b", "x")
    it.hosts.report("a..b")
    it.apply()

    assert set(it.hosts.all()) == {"web.a-0", "web.b-0", "web.c-0"}


def test_a_message_that_cannot_be_sent_is_sent_again(it, caplog):
    """The host is not waited for for ever."""
    send = it.module.send_command

    def broken(*args, **kwargs):
        raise ValueError("unknown service type: host")

    it.module.send_command = broken
    it.commands.run("orch apply", inbuf=json.dumps(RUNS))
    with pytest.raises(ValueError, match="unknown service type"):
        it.module.reconcile()
    it.module.send_command = send
    it.clock.advance(3)
    it.settle()
    assert it.service()["state"] == "stable"

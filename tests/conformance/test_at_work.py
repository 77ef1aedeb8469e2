"""Modules of Ceph 16.2 at work on three managers, and after the active is killed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import urllib.request
from datetime import UTC, datetime

import pytest

from tests.conformance.receivers import datagrams, mailbox
from tests.conformance.survey import IMPORTS_S
from tests.support import process
from tests.support.cluster import Cluster, wait_for

AT_WORK = (
    "alerts", "crash", "feeder", "influx", "insights", "iostat", "orchestrator", "progress",
    "prometheus", "selftest", "status", "telegraf", "telemetry", "test_orchestrator",
)  # fmt: skip
ASKED = (
    "crash ls", "iostat", "fs status", "osd status", "progress json", "orch host ls", "insights",
    "influx config-show", "telemetry status", "alerts send", "telegraf send",
    "mgr self-test python-version",
)  # fmt: skip
NAMES = ("a", "b", "c")


class Receivers:
    """Whom the modules speak to: a mail server, a socket, and where they serve themselves."""

    def __init__(self, smtp_port, mails, socket, measured):
        self.smtp_port, self.mails = smtp_port, mails
        self.socket, self.measured = socket, measured
        self.pages = {name: process.free_port() for name in NAMES}


@pytest.fixture(scope="module")
def receivers(tmp_path_factory):
    """Real ones, on this machine."""
    path = tmp_path_factory.mktemp("telegraf") / "s"
    with mailbox() as (port, mails), datagrams(path) as measured:
        yield Receivers(port, mails, path, measured)


@pytest.fixture(scope="module", params=["thread", "process"])
def running(request, pacific, settings_for, etcd, tmp_path_factory, receivers):
    """Three managers that find these modules only; all are enabled, in either place."""
    settings = settings_for(pacific, *(name for name in AT_WORK if name != "feeder"))
    directory = tmp_path_factory.mktemp("managers")
    with Cluster(directory, etcd.endpoints, names=NAMES, **settings) as cluster:
        cluster.settled(IMPORTS_S)
        where = cluster.run("config", "set", "mgr", "mgr_module_isolation", request.param)
        assert where.retval == 0, where
        options = {
            "alerts/smtp_host": "127.0.0.1",
            "alerts/smtp_port": receivers.smtp_port,
            "alerts/smtp_ssl": "false",
            "alerts/smtp_sender": "mgr@example.org",
            "alerts/smtp_destination": "you@example.org",
            "progress/sleep_interval": 1,
            "prometheus/server_addr": "127.0.0.1",
            **{f"prometheus/{name}/server_port": port for name, port in receivers.pages.items()},
            "telegraf/address": f"unixgram://{receivers.socket}",
        }
        for name, value in options.items():
            assert cluster.run("config", "set", "mgr", f"mgr/{name}", str(value)).retval == 0
        cluster.enable(*(name for name in AT_WORK if name != "telegraf"))
        # Those that are on by default were started before the option was set.
        for name in elsewhere(cluster, request.param):
            assert cluster.run("mgr", "module", "reload", name, timeout_s=30).retval == 0
        assert not elsewhere(cluster, request.param)
        # One module may be there before the other that it calls.
        chosen = ("orch", "set", "backend", "test_orchestrator")
        wait_for(lambda: cluster.run(*chosen).retval == 0, "the back end of orchestrator", 60)
        yield cluster


def elsewhere(running, place):
    """The modules that run, and not in ``place``."""
    used = json.loads(running.run("mgr", "module", "top", format="json", timeout_s=30).text)
    return [each["module"] for each in used if each["isolation"] != place]


def posted(running, name, **more):
    """Post a crash report of this moment."""
    at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    report = {"crash_id": name, "timestamp": at, "entity_name": "osd.1", **more}
    with running.client() as client:
        answer = client.execute(["crash", "post"], data=json.dumps(report).encode(), timeout_s=10)
    assert answer.retval == 0, answer


def listed(running, *words):
    """The names of the crashes that a command lists."""
    text = running.run("crash", *words, format="json").text
    return {each["crash_id"] for each in json.loads(text)}


@pytest.mark.parametrize(
    "command",
    [
        "mgr self-test run",
        "mgr self-test config get testkey",
        "mgr self-test config get_localized testkey",
        "mgr self-test remote",
        "mgr self-test module crash",
        "mgr self-test cluster-log audit info hello",
        "mgr self-test background start command_spam",
        "mgr self-test background stop",
    ],
)
def test_the_selftest_of_the_package_passes(running, command):
    """Its own assertions about options, store, maps, counters, calls between modules."""
    answer = running.run(*command.split(), timeout_s=30)

    assert answer.retval == 0, answer


def test_a_health_check_that_selftest_sets_is_seen_until_it_is_cleared(running):
    """Through ``set_health_checks``, with a count and details; insights has it in its history."""
    check = {"severity": "warning", "summary": "so", "detail": ["it is"]}

    received = running.run("mgr", "self-test", "health", "set", json.dumps({"TRIED": check}))
    assert received.retval == 0
    assert "TRIED" in running.run("health", "detail").text

    def remembered():
        history = json.loads(running.run("insights").text)["health"]["history"]
        return "TRIED" in history["checks"]

    wait_for(remembered, "the check in insights")
    assert running.run("mgr", "self-test", "health", "clear", "TRIED").retval == 0
    assert "TRIED" not in running.run("health", "detail").text
    assert remembered()


def test_crashes_are_posted_reported_archived_and_pruned(running):
    """A recent one raises a warning until it is archived; an old one goes by its age."""
    posted(running, "recent", process_name="ceph-osd")
    posted(running, "old", timestamp="2020-01-02T03:04:05.678901Z")
    assert listed(running, "ls") >= {"recent", "old"}
    assert "RECENT_CRASH" in running.run("health", "detail").text
    assert json.loads(running.run("crash", "info", "recent").text)["entity_name"] == "osd.1"
    insights = json.loads(running.run("insights").text)
    assert insights["crashes"]["summary"]["ceph-osd"] == 1

    assert running.run("crash", "archive", "recent").retval == 0
    assert running.run("crash", "prune", "365").retval == 0

    assert "recent" in listed(running, "ls")
    assert "recent" not in listed(running, "ls-new")
    assert "old" not in listed(running, "ls")
    wait_for(lambda: "RECENT_CRASH" not in running.run("health", "detail").text, "no warning")


def test_prometheus_of_a_standby_leads_to_the_active(running, receivers):
    """Its front page names the active's address; its metrics are empty, so nothing counts twice."""
    active = running.active().name
    for name in set(NAMES) - {active}:
        at = f"http://127.0.0.1:{receivers.pages[name]}"
        # It may be up before the active has published its address.
        wait_for(lambda at=at: str(receivers.pages[active]) in page(f"{at}/"), "the address", 30)
        assert page(f"{at}/metrics") == ""


def test_each_module_answers_before_and_after_the_active_is_killed(running, receivers):
    """Another manager runs them; what they had stored is there, and what they speak to hears."""
    posted(running, "kept")
    assert running.run("feed", "progress", "tried").retval == 0
    stored = ["config-key", "get", "mgr/progress/completed"]
    wait_for(lambda: "tried" in running.run(*stored).text, "the event stored")
    # Only now: the self-test wants a module that is not enabled.
    running.enable("telegraf")
    asked(running, receivers)
    killed = running.active()
    receivers.mails.clear()
    receivers.measured.clear()

    os.kill(killed.worker_pid, signal.SIGKILL)

    wait_for(lambda: running.active().name != killed.name, "another active")
    # One module may be there before the other that it calls.
    wait_for(lambda: running.run("orch", "host", "ls").retval == 0, "the orchestrator", 30)
    asked(running, receivers)
    assert "kept" in listed(running, "ls-new")
    completed = json.loads(running.run("progress", "json").text)["completed"]
    assert "tried" in {event["id"] for event in completed}


def asked(running, receivers):
    """Ask each module; none may refuse. Whom it speaks to hears it, whoever reads it finds it."""
    for command in ASKED:
        answer = running.run(*command.split(), timeout_s=30)
        assert answer.retval == 0, (command, answer)
    wait_for(lambda: any("MGR_" in mail or "HEALTH" in mail for mail in receivers.mails), "a mail")
    wait_for(lambda: any(line.startswith("ceph_") for line in receivers.measured), "measurements")
    at = f"http://127.0.0.1:{receivers.pages[running.active().name]}/metrics"
    assert "ceph_health_status" in wait_for(lambda: page(at), "metrics", 30)


def page(url):
    """What is served there; empty as long as nothing is."""
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:
        return answer.read().decode()
    return ""

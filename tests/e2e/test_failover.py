"""The active is lost, in every way we can do it to a process, and another one leads."""

from __future__ import annotations

import contextlib
import signal
import threading

from mgr.client.maps import Map
from tests.support import process
from tests.support.cluster import wait_for


def another(cluster, before):
    """Wait until a manager other than ``before`` is active."""
    return wait_for(
        lambda: active if (active := cluster.active()).name != before.name else None,
        f"a successor of {before.name}",
    )


def test_a_killed_worker_is_replaced_by_a_standby(cluster):
    """``kill -9``: its guard reaps it, gives leadership up and starts a clean worker."""
    first = cluster.settled()
    worker = first.worker_pid

    first.signal(signal.SIGKILL, worker=True)

    assert another(cluster, first).name != first.name
    cluster.settled()
    assert first.worker_pid != worker
    assert first.running


def test_a_killed_guard_takes_its_worker_with_it(start):
    """The kernel kills the worker; a standby leads when the lease runs out."""
    cluster = start(lease_ttl_s=2)
    first = cluster.settled()
    worker = first.worker_pid

    first.signal(signal.SIGKILL)

    wait_for(lambda: process.gone(worker), "the worker to die", 2)
    assert another(cluster, first).name != first.name


def test_a_frozen_worker_is_killed_by_its_guard(start):
    """SIGSTOP: without a heartbeat for ``watchdog_s`` it is killed, and a standby leads."""
    cluster = start(watchdog_s=0.5)
    first = cluster.settled()
    worker = first.worker_pid

    first.signal(signal.SIGSTOP, worker=True)

    assert another(cluster, first).name != first.name
    assert process.gone(worker)
    assert "no heartbeat from worker: killed" in first.log.read_text()


def test_a_frozen_guard_loses_leadership(start):
    """SIGSTOP of the guard: nobody renews, and its worker's gate shuts by the clock."""
    cluster = start(lease_ttl_s=2)
    first = cluster.settled()
    worker = first.worker_pid
    first.signal(signal.SIGSTOP)

    successor = another(cluster, first)
    first.signal(signal.SIGCONT)

    wait_for(lambda: process.gone(worker), "the worker of the ended term to exit", 10)
    assert cluster.settled().name == successor.name


def test_sigterm_hands_over_and_ends_the_manager(cluster):
    """Exit status 0, no worker left, and another manager leads."""
    first = cluster.settled()
    worker = first.worker_pid

    first.signal(signal.SIGTERM)

    assert first.wait() == 0
    assert process.gone(worker)
    assert another(cluster, first).name != first.name


def test_fail_moves_leadership_and_the_manager_comes_back(cluster):
    """``mgr fail``: a clean worker stands by afterwards; the guard is the same."""
    first = cluster.settled()
    guard, worker = first.guard_pid, first.worker_pid

    answer = cluster.run("mgr", "fail")

    assert answer.retval == 0
    assert another(cluster, first).name != first.name
    cluster.settled()
    assert first.guard_pid == guard
    assert first.worker_pid != worker


def test_fail_of_a_standby_is_refused(cluster):
    """Nothing moves."""
    first = cluster.settled()
    standby = next(name for name in cluster.managers if name != first.name)

    answer = cluster.run("mgr", "fail", standby)

    assert answer.retval < 0
    assert f"'{standby}' is a standby" in answer.stderr
    assert cluster.active().name == first.name


def test_what_was_written_before_is_there_after(cluster):
    """Options, data and maps live in etcd, not in the active. A watch makes up for the gap."""
    first = cluster.settled()
    assert cluster.run("config-key", "set", "place", "Rome").retval == 0

    with cluster.client() as client, contextlib.closing(client.maps.watch("ra")) as changes:
        version = client.maps.set("racks", {"r1": ["h1"]})
        before = next(changes)
        first.signal(signal.SIGKILL, worker=True)
        another(cluster, first)
        kept = client.maps.get("racks")
        later = client.maps.set("racks", {}, expected_version=version)
        after = next(changes)

    assert cluster.run("config-key", "get", "place").text == "Rome"
    assert before == kept == Map("racks", version, {"r1": ["h1"]})
    assert after == Map("racks", later, {})


def test_a_client_that_asks_without_pause_loses_nothing_in_a_hand_over(cluster):
    """Every command of a hand-over is answered: held, and then run by the successor."""
    cluster.settled()
    failed, answered, stop = [], [], threading.Event()

    def ask():
        with cluster.client() as client:
            while not stop.is_set():
                key = f"n/{len(answered)}"
                answer = client.execute(["config-key", "set", key, "1"], timeout_s=15)
                (failed if answer.retval else answered).append(key)

    asker = threading.Thread(target=ask)
    asker.start()
    try:
        first = cluster.active()
        before = len(answered)
        first.signal(signal.SIGTERM)
        another(cluster, first)
        wait_for(lambda: len(answered) > before + 20, "answers of the successor")
    finally:
        stop.set()
        asker.join(20)

    assert failed == []
    kept = cluster.run("config-key", "ls").text
    assert [key for key in answered if f'"{key}"' not in kept] == []


def test_nothing_is_left_when_all_managers_are_stopped(cluster):
    """No process of theirs survives an orderly stop."""
    guards = [m.guard_pid for m in cluster.managers.values()]
    pids = [*guards, *(pid for guard in guards for pid in process.below(guard))]

    cluster.stop()

    assert [pid for pid in pids if not process.gone(pid)] == []

"""Alerts fire on what real managers show when something is wrong, and on nothing before that.

The managers are scraped before and during a fault; promtool then lives through both, a quarter of
an hour each.
"""

from __future__ import annotations

import contextlib
import re
import threading

import pytest

from tests.deploy.test_observability import OF_PROMETHEUS, alerts, board_expressions, names_in
from tests.e2e.test_module_faults import write
from tests.support.cluster import Cluster
from tests.support.promtool import Case, run, series
from tests.support.scrapes import (
    PATIENCE_S,
    PATIENT,
    STEADY,
    check_fires,
    most,
    scrape,
    scrape_until,
    slow_since,
    total,
    value,
)

pytestmark = pytest.mark.timeout(600)

BEFORE, DURING = "14m", "29m"
ROUNDS = 3
"""Scrapes of a fault that has to last; the first may be of series that were not there before."""
FAILURES = "mgr_etcd_request_failures_total"
FAILS = """
    from mgr_module import MgrModule

    class Module(MgrModule):
        def serve(self):
            raise RuntimeError("served enough")
"""
BROKEN = """
    from mgr_module import MgrModule

    class Module(MgrModule):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            raise RuntimeError("not today")
"""


def check(promtool, folder, before, during, *fires):
    """Nothing fires before; during the fault at least ``fires`` do."""
    shown = series([before, during])
    cases = [Case("before", shown, BEFORE, []), Case("during", shown, DURING, fires, only=False)]
    assert run(promtool, cases, folder) == ""


@contextlib.contextmanager
def frozen(etcd):
    etcd.freeze()
    try:
        yield
    finally:
        etcd.thaw()


def families(text):
    """The names that what a manager shows begins with: also of metrics without a sample yet."""
    kinds = re.findall(r"^# TYPE (\S+) (\S+)", text, re.MULTILINE)
    return {
        f"{name}{ending}"
        for name, kind in kinds
        for ending in (("", "_bucket", "_sum", "_count") if kind == "histogram" else ("",))
    }


def test_managers_show_every_metric_that_rules_and_board_name(start):
    """Those of Prometheus itself excepted."""
    cluster = start(names=("a",), **PATIENT)
    cluster.settled(PATIENCE_S)
    expressions = [rule["expr"] for rule in alerts().values()]
    expressions += [expression for _, expression in board_expressions()]

    named = {name for expression in expressions for name in names_in(expression)}

    assert len(named) > 20
    assert named - OF_PROMETHEUS <= families(scrape(cluster)["a"])


def test_moves_a_lost_standby_and_no_leader(start, promtool, tmp_path):
    """Leadership moves three times; then two managers go; then nobody may lead."""
    cluster = start(**PATIENT)
    cluster.settled(PATIENCE_S)
    before = scrape(cluster)
    moves = [before]
    for _ in range(3):
        cluster.run("mgr", "fail")
        cluster.settled(PATIENCE_S)
        moves.append(scrape(cluster))
    leader = cluster.active()
    for manager in cluster.managers.values():
        if manager is not leader:
            manager.stop()

    def shows(sample, expected):
        return lambda found: value(found[leader.name], sample) == expected

    alone = scrape_until(cluster, shows('mgr_standbys{state="ready"}', 0), "no standby")
    cluster.run("mgr", "set", "down", "true")
    down = scrape_until(cluster, shows("mgr_leader_term", 0), "nobody leads")

    # A worker that led is another one afterwards: the terms show each move, not one's counter.
    moved = Case("moved", series(moves, 8), "7m30s", ["MgrLeadershipMoves"], only=False)
    assert run(promtool, [moved], tmp_path) == ""
    check(promtool, tmp_path, before, alone, "MgrNoStandby")
    check(promtool, tmp_path, before, down, "MgrNoActive")


def test_a_frozen_etcd(own_etcd, tmp_path, promtool):
    """The active is suspended, its view grows old, and nobody else can lead."""

    def holds(found):
        old = most(found, "mgr_mirror_age_seconds") > 11
        return old and most(found, 'mgr_role{mgr_role="suspended"}') == 1

    with Cluster(tmp_path, own_etcd.endpoints, names=("a",), **PATIENT) as cluster:
        cluster.settled(PATIENCE_S)
        before = scrape(cluster)
        with frozen(own_etcd):
            during = scrape_until(cluster, holds, "an old view")

    shown = series([before, during])
    fires = ["MgrSuspended", "MgrViewOld", "MgrNoActive"]
    cases = [
        # Alone, it has no standby before either.
        Case("before", shown, BEFORE, ["MgrNoStandby"]),
        Case("during", shown, DURING, fires, only=False),
    ]
    assert run(promtool, cases, tmp_path) == ""


def test_modules_that_fail(start, promtool, tmp_path):
    """One is constructed in vain, one is started again and again."""
    folder = tmp_path / "modules"
    write(folder, {"fails": FAILS, "broken": BROKEN})
    cluster = start(names=("a", "b"), module_path=folder, **PATIENT)
    cluster.settled(PATIENCE_S)
    before = scrape(cluster)
    cluster.enable("fails", "broken")
    active, restarts = cluster.active().name, 'mgr_module_restarts_total{module="fails"}'
    first = scrape_until(
        cluster, lambda found: value(found[active], restarts) is not None, "the module's series"
    )

    def holds(found):
        down = value(found[active], 'mgr_module_up{module="broken"}') == 0
        return down and most(found, restarts) >= most(first, restarts) + 3

    failing = scrape_until(cluster, holds, "three restarts")

    shown = series([before, first, failing])
    fires = ["MgrModuleDown", "MgrModuleRestarts"]
    cases = [Case("before", shown, BEFORE, []), Case("during", shown, "44m", fires, only=False)]
    assert run(promtool, cases, tmp_path) == ""


def test_an_etcd_that_is_full(start, promtool, tmp_path):
    """By a quota that its few records fill."""
    cluster = start(names=("a", "b"), etcd_quota_bytes=10_000, **PATIENT)
    cluster.settled(PATIENCE_S)

    def holds(found):
        return all(value(text, "mgr_etcd_database_bytes") for text in found.values())

    full = scrape_until(cluster, holds, "the size of etcd")

    cases = [Case("full", series([full]), BEFORE, ["MgrEtcdFull"])]
    assert run(promtool, cases, tmp_path) == ""


def test_a_manager_that_is_gone_and_two_clusters_under_one_label(start, promtool, tmp_path):
    """Two actives are no fault of managers, but of what is scraped as one cluster."""
    cluster, other = start(names=("a", "b"), **STEADY), start(names=("x",), **STEADY)
    active = cluster.settled(PATIENCE_S)
    other.settled(PATIENCE_S)
    before = scrape(cluster)

    two = before | scrape(other)
    [standby] = (each for each in cluster.managers.values() if each is not active)
    standby.stop()

    check_fires(promtool, tmp_path, [before, two], "MgrTwoActive")
    check_fires(promtool, tmp_path, [before, scrape(cluster)], "MgrManagerDown")


def test_an_etcd_that_is_slow(own_etcd, tmp_path, promtool):
    """It stands still for most of the time."""
    with Cluster(tmp_path, own_etcd.endpoints, names=("a",), **STEADY) as cluster:
        cluster.settled(PATIENCE_S)
        scrapes = [scrape(cluster)]

        for _ in range(ROUNDS):
            slow = slow_since(scrapes[-1], "mgr_etcd_request_seconds", "0.5")

            def holds(found, slow=slow):
                with frozen(own_etcd):
                    threading.Event().wait(0.8)
                return slow(found)

            scrapes.append(scrape_until(cluster, holds, "slow requests"))

    check_fires(promtool, tmp_path, scrapes, "MgrEtcdSlow")


def test_an_etcd_that_does_not_answer(own_etcd, tmp_path, promtool):
    """Requests fail after their time limit."""
    steady = {**STEADY, "etcd_timeout_s": 1}
    with Cluster(tmp_path, own_etcd.endpoints, names=("a",), **steady) as cluster:
        cluster.settled(PATIENCE_S)
        scrapes = [scrape(cluster)]

        with frozen(own_etcd):
            for _ in range(ROUNDS):
                few = total(scrapes[-1], FAILURES)

                def holds(found, few=few):
                    return total(found, FAILURES) >= few + 8

                scrapes.append(scrape_until(cluster, holds, "failures"))

    check_fires(promtool, tmp_path, scrapes, "MgrEtcdRequestsFail")


def test_an_address_of_etcd_that_does_not_answer(etcd, tmp_path, promtool):
    """The others do: etcd works on, and so do the managers."""
    nobody = "127.0.0.1:1"
    with Cluster(tmp_path, (*etcd.endpoints, nobody), names=("a",), **STEADY) as cluster:
        cluster.settled(PATIENCE_S)
        before = scrape(cluster)

        silent = scrape_until(
            cluster, lambda found: most(found, "mgr_etcd_endpoints_silent") > 0, "a silent address"
        )

    check_fires(promtool, tmp_path, [before, silent], "MgrEtcdEndpointSilent")

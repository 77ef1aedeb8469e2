"""Alerts fire on what real managers show when something is wrong, and on nothing before that.

The managers are scraped before and during a fault; promtool then lives through both, a quarter of
an hour each.
"""

from __future__ import annotations

import contextlib
import re

import httpx
import pytest

from tests.deploy.test_observability import OF_PROMETHEUS, alerts, board_expressions, names_in
from tests.e2e.test_module_faults import write
from tests.support import fetch_promtool
from tests.support.cluster import Cluster, wait_for
from tests.support.promtool import Case, run, series

pytestmark = pytest.mark.timeout(300)

BEFORE, DURING = "14m", "29m"
PATIENCE_S = 60
PATIENT = {"watchdog_s": 30}
"""What is tested has no hurry, and must not fail where the machine is busy."""

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


@pytest.fixture(scope="module")
def promtool():
    try:
        return fetch_promtool.find()
    except fetch_promtool.NoPromtoolError as error:
        pytest.skip(f"ALERTS NOT TRIED ON MANAGERS: no promtool: {error}")


def scrape(cluster):
    """What each manager that runs shows, by its name."""
    found = {}
    for name, manager in cluster.managers.items():
        if manager.running:
            answer = httpx.get(f"http://{manager.http_address}/metrics", timeout=10)
            found[name] = answer.text
    return found


def scrape_until(cluster, holds, what):
    """Scrape until ``holds`` of what was shown."""

    def probe():
        # A worker that was killed on a busy machine is back in a moment.
        with contextlib.suppress(httpx.HTTPError):
            found = scrape(cluster)
            return found if holds(found) else None

    return wait_for(probe, what, PATIENCE_S)


def value(text, sample):
    """The value of a sample, named with its labels; None if it is not shown."""
    found = (line.rpartition(" ") for line in text.splitlines())
    return next((float(number) for name, _, number in found if name == sample), None)


def check(promtool, folder, before, during, *fires):
    """Nothing fires before; during the fault at least ``fires`` do."""
    shown = series([before, during])
    cases = [Case("before", shown, BEFORE, []), Case("during", shown, DURING, fires, only=False)]
    assert run(promtool, cases, folder) == ""


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
        old = value(found["a"], "mgr_mirror_age_seconds") > 11
        return old and value(found["a"], 'mgr_role{mgr_role="suspended"}') == 1

    with Cluster(tmp_path, own_etcd.endpoints, names=("a",), **PATIENT) as cluster:
        cluster.settled(PATIENCE_S)
        before = scrape(cluster)
        own_etcd.freeze()
        frozen = scrape_until(cluster, holds, "an old view")
        own_etcd.thaw()

    shown = series([before, frozen])
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
    active = cluster.active().name

    def restarts(found):
        return value(found[active], 'mgr_module_restarts_total{module="fails"}')

    first = scrape_until(cluster, lambda found: restarts(found) is not None, "the module's series")

    def holds(found):
        down = value(found[active], 'mgr_module_up{module="broken"}') == 0
        return down and restarts(found) >= restarts(first) + 3

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
        return all(value(text, "mgr_etcd_database_bytes") > 0 for text in found.values())

    full = scrape_until(cluster, holds, "the size of etcd")

    cases = [Case("full", series([full]), BEFORE, ["MgrEtcdFull"])]
    assert run(promtool, cases, tmp_path) == ""

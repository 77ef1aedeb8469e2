"""Alert rules and board: every metric they name exists, promtool takes them, each alert fires."""

from __future__ import annotations

import json
import re
import subprocess

import pytest
import yaml

from mgr.client_limits import ClientLimits
from mgr.clock import CLOCK
from mgr.host.module_usage import ModuleUsageCollector
from mgr.metrics import Metrics
from tests.deploy.alert_faults import FAULTS, HEALTHY
from tests.support.promtool import RULES, Case, run
from tests.support.tree import ROOT

FOLDER = ROOT / "deploy/observability"
OF_PROMETHEUS = {"up"}
"""Made by Prometheus itself, for each target."""
NAME = re.compile(r"\b((?:mgr|process)_[a-z0-9_]+)\s*(?=[{\[)\s,]|$)|\b(up)\{")


def alerts():
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def board_expressions():
    board = json.loads((FOLDER / "board.json").read_text())
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]
    for annotation in board["annotations"]["list"]:
        yield annotation["name"], annotation["expr"]
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], variable["query"]


def names_in(expression):
    """The metrics of an expression; what stands in braces or behind ``by`` are labels."""
    bare = re.sub(r"\{[^}]*\}", "{}", expression)
    bare = re.sub(r"\b(?:by|without|on|ignoring)\s*\([^)]*\)", "", bare)
    return {first or second for first, second in NAME.findall(bare)}


@pytest.fixture(scope="module")
def exported():
    """Every name that ``/metrics`` of a manager can have."""
    registry = Metrics().registry
    ClientLimits(CLOCK.now, registry)
    ModuleUsageCollector(registry)
    shown = {sample.name for family in registry.collect() for sample in family.samples}
    return set(registry._names_to_collectors) | shown | OF_PROMETHEUS


@pytest.mark.parametrize("alert", alerts())
def test_every_metric_of_a_rule_exists(exported, alert):
    """A renamed metric would leave an alert that never fires."""
    names = names_in(alerts()[alert]["expr"])

    assert names
    assert names <= exported


def test_every_metric_of_the_board_exists(exported):
    """A panel of a metric that is not there is empty, and looks like no trouble."""
    found = {title: names_in(expression) - exported for title, expression in board_expressions()}

    assert {title: names for title, names in found.items() if names} == {}
    assert all(names_in(expression) for _, expression in board_expressions())


def test_a_metric_that_does_not_exist_would_be_seen(exported):
    """The two tests above can fail."""
    assert names_in('sum by (mgr_role) (rate(mgr_gone_total{a="mgr_x"}[5m]))') - exported == {
        "mgr_gone_total"
    }


def test_every_alert_says_what_to_do_and_how_urgent_it_is():
    """Whoever is woken by it reads the summary, then the page."""
    page = (ROOT / "docs/how-to/monitor.md").read_text()
    for name, rule in alerts().items():
        assert rule["labels"]["severity"] in {"page", "warn"}
        assert set(rule["annotations"]) == {"summary", "description"}
        assert f"`{name}`" in page, f"{name} is not in docs/how-to/monitor.md"


def test_the_board_can_be_imported():
    """Panels have their own ids, do not lie on each other, and take the data source chosen."""
    board = json.loads((FOLDER / "board.json").read_text())
    ids = [panel["id"] for panel in board["panels"]]
    cells = [
        (x, y)
        for panel in board["panels"]
        for at in [panel["gridPos"]]
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    ]

    assert len(ids) == len(set(ids))
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    sources = re.findall(r'"uid": "([^"]+)"', json.dumps(board["panels"]))
    assert set(sources) == {"${datasource}"}


def test_every_alert_has_a_fault_that_makes_it_fire():
    """And no fault is left of an alert that is gone."""
    assert set(FAULTS) == set(alerts())


def test_every_alert_fires_in_a_test_with_real_managers():
    """By its name in quotes; what fires there is what this module's own series only stand for."""
    tests = "".join(path.read_text() for path in (ROOT / "tests/e2e").glob("test_alert_faults*.py"))

    assert set(alerts()) <= set(re.findall(r'"(Mgr\w+)"', tests))


@pytest.mark.slow
def test_promtool_takes_the_rules_and_the_expressions_of_the_board(promtool, tmp_path):
    """As Prometheus and Grafana would."""
    variables = {"$__rate_interval": "5m", "$__range": "6h"}
    rules = []
    for number, (_, expression) in enumerate(board_expressions()):
        if "label_values" in expression:
            continue
        plain = re.sub(r"\$__\w+", lambda found: variables[found[0]], expression)
        rules.append({"record": f"board:{number}", "expr": plain})
    board = tmp_path / "board.yaml"
    board.write_text(yaml.safe_dump({"groups": [{"name": "board", "rules": rules}]}))

    done = subprocess.run(
        [promtool, "check", "rules", RULES, board],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(alerts())} rules found" in done.stdout


@pytest.mark.slow
def test_each_alert_fires_by_its_fault_and_by_no_other(promtool, tmp_path):
    """And none fires on two managers that have had a failover and are well."""
    cases = [Case("healthy", HEALTHY, "10m", [])]
    cases += [Case(name, fault.series, fault.at, [name]) for name, fault in FAULTS.items()]

    assert run(promtool, cases, tmp_path) == ""


def test_the_first_refusal_of_a_kind_is_seen(promtool, tmp_path):
    """Its counter appears with a value, and so has no increase."""
    appear = {
        'mgr_client_limit_reached_total{job="mgr",instance="a",limit="http_head"}': "_x8 120x8",
        'mgr_fleet_refused_total{job="mgr",instance="a",reason="sequence"}': "_x8 1x8",
    }
    fires = ["MgrClientsRefused", "MgrDaemonsRefused"]
    cases = [
        Case("before", appear, "90s", [], watched=fires),
        Case("during", appear, "3m30s", fires, only=False),
    ]

    assert run(promtool, cases, tmp_path) == ""

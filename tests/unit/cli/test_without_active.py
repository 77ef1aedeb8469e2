"""What ``status`` and ``health`` print while no manager leads."""

from __future__ import annotations

import json

import pytest

from mgr.cli import without_active
from mgr.client.messages import ManagerInfo, Status

FULL = "no space: etcd is full"
A = ManagerInfo("a", "h:1", "", term=7)


def status(name, phase, note="", *, active=None, age_s=0.1):
    """The answer of one manager."""
    return Status(name, "demo", "1", "i", phase, note, active, (), age_s)


SUSPENDED = {
    "h:1": status("a", "suspended", FULL),
    "h:2": status("b", "standby", active=A),
    "h:3": "Connection refused",
}


def test_a_suspended_active_does_not_lead_whoever_names_it():
    """The standbys still see its key."""
    assert without_active.nobody_leads(SUSPENDED)
    assert without_active.summary(SUSPENDED) == (f"no active manager (mgr.a: suspended, {FULL})")


def test_an_active_that_does_not_answer_is_named_as_such():
    """A busy or frozen one is not nobody; what a standby knew long ago is not said."""
    silent = {"h:1": "no answer in time", "h:2": status("b", "standby", active=A)}
    old = {"h:2": status("b", "standby", active=A, age_s=9.0)}

    why = "mgr.a: leads, as mgr.b knows, but does not answer here"
    assert without_active.summary(silent) == f"no active manager ({why})"
    assert without_active.reasons(old) == {"mgr.b": "no answer from etcd for 9 s"}


@pytest.mark.parametrize("phase", ["active", "starting", "draining"])
def test_one_that_leads_is_waited_for(phase):
    """It will answer; so is anybody, where no manager answered."""
    assert not without_active.nobody_leads(SUSPENDED | {"h:3": status("c", phase)})
    assert not without_active.nobody_leads({"h:1": "Connection refused"})


def test_the_document_has_the_schema_of_the_actives_answer():
    """A program reads the same fields, whoever answers."""
    found = json.loads(without_active.text(("status",), SUSPENDED, "json"))

    assert found["cluster"] == "demo"
    assert found["health"]["checks"]["MGR_NO_ACTIVE"]["severity"] == "HEALTH_ERR"
    assert found["mgrmap"]["available"] is False
    assert found["mgrmap"]["standbys"] == ["b"]
    assert found["managers"][0] == {
        "name": "a",
        "address": "h:1",
        "phase": "suspended",
        "note": FULL,
        "view_age_s": 0.1,
    }
    assert found["managers"][2]["note"] == "Connection refused"


def test_health_is_an_error_with_the_reason_and_each_managers_state():
    """In the first line, as it is with an active."""
    first, *others = without_active.text(("health",), SUSPENDED, "").splitlines()

    assert first == f"HEALTH_ERR no active manager (mgr.a: suspended, {FULL})"
    assert len(others) == 3


def test_a_follower_reads_a_reason_once():
    """How long etcd has been silent changes all the time, and the reason does not."""
    texts = {
        without_active.summary({"h:1": status("a", "suspended", FULL, age_s=age_s)}, ages=False)
        for age_s in (4, 5, 60)
    }

    assert len(texts) == 1

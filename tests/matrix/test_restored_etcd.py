"""Rows 33 and 62 to 64: etcd goes back in time, or is another one. Terms grow, or nobody leads."""

from __future__ import annotations

import signal
import sys
import threading

import pytest

from mgr.client.messages import Status
from mgr.clock import CLOCK
from tests.support.cluster import wait_for
from tests.support.faults.proxy import Mode
from tests.support.faults.restored import RAISED_BY, Restorable

pytestmark = [pytest.mark.etcd, pytest.mark.e2e, pytest.mark.timeout(180)]

WATCHED_S = 14.0
"""Longer than managers take between two looks at the etcd they were given."""
LEADS_WITHIN_S = 30.0


@pytest.fixture
def restorable(etcd_program, etcd_directory, tmp_path_factory):
    directory = etcd_directory / tmp_path_factory.mktemp("restored").name
    directory.mkdir()
    with Restorable(directory) as running:
        yield running
        # Captured, and shown by pytest for a failed test only.
        sys.stderr.write(running.cluster.logs())


def grown(restorable):
    """Back up, write, and change the active twice; the newest term and revision."""
    cluster = restorable.cluster
    assert cluster.run("config-key", "set", key="before", val="x").retval == 0
    restorable.back_up()
    for number in range(2):
        term = restorable.term()
        cluster.settled(40).signal(signal.SIGKILL, worker=True)
        wait_for(lambda t=term: restorable.term() > t, "the next term")
        assert cluster.run("config-key", "set", key=f"after/{number}", val="x").retval == 0
    cluster.settled(40)
    return restorable.term(), restorable.revision()


def silent(statuses):
    """Who does not say why it may not lead."""
    return [
        name
        for name, status in statuses.items()
        if not isinstance(status, Status) or status.phase == "active" or not status.note
    ]


def unexplained(restorable):
    """Who says so neither in its status nor, having no worker to answer with, in its log."""
    managers = {m.grpc_address: m for m in restorable.cluster.managers.values()}
    return [
        address
        for address in silent(restorable.statuses())
        if "etcd went back in time" not in managers[address].log.read_text()
    ]


def test_no_term_is_given_again_after_a_plain_restore(restorable):
    """Etcd's revisions are terms: set back, it would give the same ones twice.

    So nobody leads, and each manager says that etcd went back and what to do.
    """
    newest, _ = grown(restorable)

    restorable.restore()

    ends_s, terms = CLOCK.now() + WATCHED_S, set()
    while CLOCK.now() < ends_s:
        terms.add(restorable.term())
        threading.Event().wait(0.1)
    # The newest may answer yet while its own deadline has not passed.
    assert {term for term in terms if term < newest} <= {0}, "an old term, or one of its time, led"
    assert restorable.term() == 0, "somebody leads on"
    wait_for(lambda: not unexplained(restorable), "each to say why it may not lead")


def test_a_restored_etcd_with_raised_revisions_is_gone_on_with(restorable):
    """Terms grow for everybody, and what was written after the backup is not there any more.

    The leader key of the backup is there as well, and its manager still has the lease: it must not
    lead in that term again.
    """
    newest, revision = grown(restorable)

    restorable.restore(above=revision + RAISED_BY)

    wait_for(lambda: restorable.term() > newest, "a term above all that were", LEADS_WITHIN_S)
    restorable.cluster.settled(40)
    cluster = restorable.cluster
    assert cluster.run("config-key", "get", key="before").text == "x"
    for number in range(2):
        found = cluster.run("config-key", "get", key=f"after/{number}")
        assert found.retval, "the manager shows what etcd does not have"
    assert cluster.run("config-key", "set", key="again", val="x").retval == 0


def test_nobody_leads_through_an_endpoint_of_another_etcd(
    etcd_program, etcd_directory, tmp_path_factory
):
    """The active reaches that one only: others lead, and it writes nothing there."""
    directory = etcd_directory / tmp_path_factory.mktemp("foreign").name
    directory.mkdir()
    with Restorable(directory, foreign=True) as restorable:
        before = restorable.cluster.settled(40)
        term = restorable.term()
        for number in range(3):
            restorable.cables.set(before.name, Mode.PAUSE, number=number)

        wait_for(lambda: restorable.term() > term, "another one to lead", LEADS_WITHIN_S)
        ends_s = CLOCK.now() + WATCHED_S
        while CLOCK.now() < ends_s:
            assert restorable.keys_of_managers(restorable.foreign) == []
            threading.Event().wait(0.2)
        address = before.grpc_address
        status = restorable.statuses()[address]
        assert not isinstance(status, Status) or status.phase != "active"
        restorable.cables.mend()
        restorable.cluster.settled(40)

"""Terms only grow: what managers make of an old leader key, and of an etcd that was restored."""

from __future__ import annotations

import dataclasses

import pytest

from mgr.election.machine import Phase
from mgr.guard.campaign import Campaign
from mgr.store.api import Revision
from tests.support.network_faults import KEYS, ViolationError
from tests.support.simulation import Simulation
from tests.support.virtual_loop import context_of

OLD_S = 10
RAISED = 1_000_000_000
"""By how much a restore as documented raises revisions."""


def raise_revision(world, to):
    """Restore the store with higher revisions, as ``--bump-revision`` does."""
    world.store._revision = Revision(to)


def in_each(world, call):
    """Let ``call`` happen in every manager's process, given its identity of the store."""
    for name, manager in world.managers.items():
        if manager.running:
            world.loop.call_soon(call, manager.identity, context=context_of(name))
    world.run(0.001)


def see(world, revision):
    """Let every manager's channel see ``revision`` in a linearizable answer."""
    in_each(world, lambda identity: identity.advance(revision, identity.newest_revision))


def remember(world, term):
    """Let every manager have seen ``term``."""
    in_each(world, lambda identity: identity.note_term(term))


def test_a_term_below_one_that_was_seen_is_not_begun():
    """The winner gives the key back; nobody leads, and the reason has the way out."""
    with Simulation("a", "b") as world:
        remember(world, 1000)

        world.run(OLD_S)

        assert world.active == []
        assert world.store._records.get(KEYS.leader) is None
        for manager in world.managers.values():
            assert manager.guard.phase is Phase.INELIGIBLE
            assert "--bump-revision 1000 " in manager.guard._eligibility.reason


def test_a_term_is_not_given_twice():
    """Etcd was restored to the revision before a term that was seen: the next key repeats it."""
    with Simulation("a", "b") as world:
        term = world.settle().guard.leadership.term

    with Simulation("a", "b") as world:
        remember(world, term)

        assert world.settle().guard.leadership.term > term


def test_managers_that_are_blocked_go_on_by_themselves_once_revisions_are_higher():
    """As the channel finds out by its next linearizable read."""
    with Simulation("a", "b") as world:
        remember(world, 1000)
        world.run(OLD_S)

        raise_revision(world, RAISED)
        see(world, RAISED)

        world.settle()
        record = world.store._records[KEYS.leader]
        assert record.create_revision > RAISED


def a_restored_key(world):
    """Let ``a`` stand by, and find the leader key of an old term on its lease, as in a backup."""
    first = world.settle()
    if first.name == "a":
        world.resign("a")
        world.until(lambda: world.active and world.active != ["a"], 10)
        first = world.settle()
    newest = world.store._records[KEYS.leader]
    old = Revision(newest.create_revision - 1)
    lease = world.managers["a"].guard._session.lease
    raise_revision(world, RAISED)
    key = dataclasses.replace(newest, create_revision=old, mod_revision=old, lease=lease)
    world.store._records[KEYS.leader] = key
    for feed in world.store._feeds:
        world.store._relist(feed)
    see(world, RAISED)


@pytest.mark.parametrize("seed", range(3))
def test_an_old_leader_key_on_a_lease_of_ours_is_given_back(seed):
    """Its term was over long ago: nobody leads by it, and the next term is the newest."""
    with Simulation("a", "b", "c", seed=seed) as world:
        a_restored_key(world)

        world.run(OLD_S)
        world.settle()

        assert world.store._records[KEYS.leader].create_revision > RAISED


def test_a_build_that_takes_any_term_would_be_seen(monkeypatch):
    """The test above can fail: without the check the old term begins again."""

    async def any_term(*_, **__):
        return True

    monkeypatch.setattr(Campaign, "_is_newest_term", any_term)
    with Simulation("a", "b", "c") as world:
        a_restored_key(world)

        with pytest.raises(ViolationError, match="begins after term"):
            world.run(OLD_S)


def test_a_restore_ends_the_term():
    """The worker has in memory what is not in etcd any more; it, or another one, begins again."""
    with Simulation("a", "b", "c") as world:
        first = world.settle()
        before = first.guard.leadership.term

        raise_revision(world, RAISED)
        see(world, RAISED)

        assert first.guard.phase is not Phase.ACTIVE
        world.settle()
        assert world.store._records[KEYS.leader].create_revision > before

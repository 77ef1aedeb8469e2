"""Compare-and-set, transactions and watches, asked from the module's own thread."""

import asyncio

import pytest

from mgr.errors import TermLostError
from tests.unit.active.probe import Probe


async def test_an_entry_is_compared_and_set(run):
    """None stands for a key that is absent, on either side."""

    def work(module):
        made = module.compare_and_set_store("k", None, "1")
        again = module.compare_and_set_store("k", None, "2")
        changed = module.compare_and_set_store("k", "1", "3")
        seen = module.get_store("k")
        removed = module.compare_and_set_store("k", "3", None)
        return made, again, changed, seen, removed, module.get_store("k")

    assert await run(work) == (True, False, True, "3", True, None)


async def test_several_entries_change_together_or_not_at_all(cluster, run):
    """In one transaction: both stand at one revision."""

    def work(module):
        done = module.commit_store({"a": "1", "b": "1", "gone": None}, {"lock": None})
        refused = module.commit_store({"a": "2", "b": "2"}, {"a": "1", "b": "other"})
        return done, refused, module.get_store_prefix("")

    assert await run(work) == (True, False, {"a": "1", "b": "1"})
    records = [cluster.mirror.get(cluster.keys.module_entry("probe", key)) for key in "ab"]
    assert len({record.mod_revision for record in records}) == 1


async def test_only_one_of_many_that_compare_and_set_at_once_succeeds(cluster):
    """Threads of one module, all of which read the same before."""
    instance = cluster.role._modules.instance_of("probe")
    await asyncio.to_thread(instance.set_store, "n", "0")

    async with asyncio.TaskGroup() as tries:
        tried = [
            tries.create_task(asyncio.to_thread(instance.compare_and_set_store, "n", "0", str(i)))
            for i in range(1, 9)
        ]

    winners = [index for index, task in enumerate(tried, 1) if task.result()]
    assert len(winners) == 1
    assert instance.get_store("n") == str(winners[0])


@pytest.mark.parametrize(
    ("changes", "kind"),
    [({"k": 1}, TypeError), ({"k": "a\0"}, ValueError), ({"\0": "v"}, ValueError)],
)
async def test_a_transaction_with_one_bad_entry_changes_nothing(run, changes, kind):
    """It is refused before anything is sent."""
    error = await run(lambda module: module.commit_store({"good": "1", **changes}))

    assert type(error) is kind
    assert await run(lambda module: module.get_store("good")) is None


async def test_an_overtaken_manager_commits_nothing(cluster, run):
    """The transaction carries the proof of the term, as every write does."""
    await cluster.store.revoke(cluster.lease)
    lease = (await cluster.store.grant(5)).lease
    await cluster.store.create(cluster.keys.leader, "another", lease=lease)
    instance = cluster.role._modules.instance_of("probe")

    with pytest.raises(TermLostError):
        await asyncio.to_thread(instance.compare_and_set_store, "k", None, "late")

    assert await cluster.store.get(cluster.keys.module_entry("probe", "k")) is None
    assert cluster.fenced


async def test_a_watched_entry_is_notified_whoever_changed_it(cluster, run):
    """On the thread of commands, like every other notification; others' keys are not told."""
    await run(lambda module: module.watch_store("job/"))

    await run(lambda module: module.set_store("job/1", "mine"))
    await cluster.until(lambda: Probe.received == [("store", "job/1")])
    await cluster.put(cluster.keys.module_entry("probe", "other"), "x")
    await cluster.put(cluster.keys.module_entry("peer", "job/1"), "x")
    await cluster.put(cluster.keys.module_entry("probe", "job/2"), "theirs")
    await cluster.until(lambda: len(Probe.received) == 2)

    assert Probe.received[1] == ("store", "job/2")
    assert set(Probe.threads) == {"probe-commands"}


async def test_a_removed_entry_is_notified(cluster, run):
    """Reading it shows that it is gone."""
    await run(lambda module: module.set_store("job", "x"))
    await run(lambda module: module.watch_store(""))

    await run(lambda module: module.set_store("job", None))

    await cluster.until(lambda: Probe.received == [("store", "job")])


async def test_an_ended_watch_notifies_nothing(cluster, run):
    """Nor does one that never began."""

    def work(module):
        module.watch_store("a")
        module.watch_store("b")
        module.unwatch_store("a")
        module.unwatch_store("never")
        module.set_store("a", "1")
        module.set_store("b", "1")

    await run(work)

    await cluster.until(lambda: Probe.received)
    assert Probe.received == [("store", "b")]


async def test_too_many_changes_are_merged_into_one_notification(cluster, run):
    """None is lost: an empty key says, look at all of them."""

    def work(module):
        module.watch_store("")
        for batch in range(6):
            module.commit_store({f"{batch}/{n}": "x" for n in range(60)})

    await run(work)

    await cluster.until(lambda: ("store", "") in Probe.received)
    assert len(Probe.received) == 1

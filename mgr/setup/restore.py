"""``mgrd restore FILE``: restores a backup into an etcd; the next term is above all earlier ones.

In this order, so that no manager ever leads on half of it:

1. the file is read and checked, and the store is looked at: nothing has changed yet;
2. ``down`` and ``restore`` are written: no manager takes leadership, and an interrupted restore is
   known as one;
3. the revision of etcd, from which terms come, is raised above all that the backup knows;
4. old records are deleted and those of the backup written, each batch while nobody leads;
5. everything is read again and compared;
6. ``restore`` is removed, and ``down`` unless the backup has it, with a note for the audit.

Called again after an interruption, with the same file, it begins at 3.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from mgr.audit.record import note_of_etcd_owner
from mgr.backup_file import Backup, Entry
from mgr.clock import CLOCK, timestamp
from mgr.errors import InvalidArgumentError, NotPermittedError, StoreUnavailableError
from mgr.store.api import (
    ABSENT,
    NO_LEASE,
    Created,
    Delete,
    Operation,
    Put,
    Record,
    Store,
)
from mgr.store.keys import Keys
from mgr.store.limits import check_commit

TIMEOUT_S: Final = 10.0
BATCH_OPERATIONS: Final = 100
BATCH_CHARS: Final = 200_000
"""In UTF-8 a character takes four bytes at most: well below what one transaction may have."""
RAISED_AT_ONCE: Final = 64
RAISED_MAX: Final = 1_000_000
"""Etcd raises its revision by one with each write, and keeps each until it is compacted: more would
take minutes and a tenth of its space."""
STAND_DOWN_S: Final = 60.0
"""How long a running active may take to hand over."""

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The options of the command line.

    Attributes:
        replace: Delete what the cluster has in this etcd.
        running: Do so although managers run.
        revision_min: A revision that was seen elsewhere; the next term is above it.

    """

    replace: bool = False
    running: bool = False
    revision_min: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """The result; ``raised`` is the number of revisions that were skipped."""

    records: int
    raised: int
    revision: int
    cluster_id: int


async def restore(
    store: Store, keys: Keys, backup: Backup, plan: Plan, *, progress: Progress
) -> Restored:
    """Restore ``backup``. ``store`` must leave sealed values sealed.

    Raises:
        InvalidArgumentError: The backup is not of this cluster, or a record in it cannot be stored.
        NotPermittedError: The cluster runs or has data, and ``plan`` does not replace it; or the
            revision would have to be raised too far. Nothing changed.
        StoreUnavailableError: Etcd did not answer, or a manager leads. Call it again.

    """
    check(backup, keys)
    found = await store.list(keys.root, timeout_s=TIMEOUT_S)
    present = {record.key: record for record in found.records}
    target = max(backup.header.revision, backup.header.term, plan.revision_min)
    _admit(present, keys, backup, plan)
    gap = max(0, target - found.revision)
    if gap > RAISED_MAX:
        raise NotPermittedError(_too_far(target, found.revision))
    await _stand_down(store, keys, backup, progress)
    await _raise_revision(store, keys, backup, gap, progress)
    await _replace(store, keys, backup, progress)
    await _compare(store, keys, backup)
    revision = await _finish(store, keys, backup)
    status = await store.status(timeout_s=TIMEOUT_S)
    return Restored(
        records=len(backup.records), raised=gap, revision=revision, cluster_id=status.cluster_id
    )


def check(backup: Backup, keys: Keys) -> None:
    """Check that ``backup`` can be restored under ``keys``. Pure.

    Raises:
        InvalidArgumentError: It cannot; the message says why.

    """
    if backup.header.cluster != keys.cluster:
        raise InvalidArgumentError(
            f"the backup is of cluster '{backup.header.cluster}', and --cluster is "
            f"'{keys.cluster}': sealed values and certificates belong to the name"
        )
    before = ""
    for key, value in backup.records:
        if key <= before:
            raise InvalidArgumentError(f"the backup has '{key}' out of order: it is no backup")
        if keys.root + key in keys.not_backed_up:
            raise InvalidArgumentError(f"the backup has '{key}', which is never in one")
        check_commit([Put(keys.root + key, value)])
        before = key


def _admit(present: dict[str, Record], keys: Keys, backup: Backup, plan: Plan) -> None:
    running = sorted(
        key.removeprefix(keys.managers) for key in present if key.startswith(keys.managers)
    )
    if running and not plan.running:
        raise NotPermittedError(
            f"managers of '{keys.cluster}' run ({', '.join(running)}): stop them, or give --running"
        )
    if keys.leader in present and not running and not plan.running:
        raise NotPermittedError(f"a manager of '{keys.cluster}' leads: stop it, or give --running")
    marker = present.get(keys.restore)
    if marker is not None and marker.value == backup.sha256:
        return
    data = [key for key, record in present.items() if record.lease == NO_LEASE]
    if data and not plan.replace:
        what = (
            "an earlier restore of another file was interrupted"
            if marker is not None
            else f"etcd has {len(data)} records of it"
        )
        raise NotPermittedError(f"cluster '{keys.cluster}' exists: {what}; --replace deletes them")


async def _stand_down(store: Store, keys: Keys, backup: Backup, progress: Progress) -> None:
    """Keep every manager from leading, and wait until none does."""
    await store.commit(
        [Put(keys.down, timestamp()), Put(keys.restore, backup.sha256)], timeout_s=TIMEOUT_S
    )
    ends_at = CLOCK.now() + STAND_DOWN_S
    said = False
    while await store.get(keys.leader, timeout_s=TIMEOUT_S) is not None:
        if not said:
            said = True
            progress("waiting for the active to hand over")
        if CLOCK.now() > ends_at:
            raise StoreUnavailableError(
                f"a manager still leads after {STAND_DOWN_S:g} s: stop it, and repeat this command"
            )
        await asyncio.sleep(0.2)


async def _raise_revision(
    store: Store, keys: Keys, backup: Backup, gap: int, progress: Progress
) -> None:
    if gap:
        progress(f"raising the revision of etcd by {gap}, so that terms keep growing")
    done = 0
    while done < gap:
        count = min(RAISED_AT_ONCE, gap - done)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(count):
                put = Put(keys.restore, backup.sha256)
                tasks.create_task(store.commit([put], timeout_s=TIMEOUT_S))
        if done // 50_000 != (done + count) // 50_000:
            progress(f"  {done + count} of {gap}")
        done += count


async def _replace(store: Store, keys: Keys, backup: Backup, progress: Progress) -> None:
    found = await store.list(keys.root, timeout_s=TIMEOUT_S)
    own = {keys.down, keys.restore}
    wanted = {keys.root + key for key, _ in backup.records}
    old = [
        Delete(record.key)
        for record in found.records
        # What a running manager has on its lease is its own.
        if record.lease == NO_LEASE and record.key not in wanted | own
    ]
    new = [Put(keys.root + key, value) for key, value in backup.records]
    progress(f"writing {len(new)} records" + (f", deleting {len(old)}" if old else ""))
    for batch in _batches([*old, *(put for put in new if put.key not in own)]):
        await _commit(store, keys, batch)


async def _compare(store: Store, keys: Keys, backup: Backup) -> None:
    found = await store.list(keys.root, timeout_s=TIMEOUT_S)
    own = {keys.down, keys.restore}
    stored = {
        record.key: record.value
        for record in found.records
        if record.lease == NO_LEASE and record.key not in own | keys.not_backed_up
    }
    wanted = {keys.root + key: value for key, value in backup.records}
    wanted.pop(keys.down, None)
    if stored != wanted:
        differing = {
            key for key in stored.keys() | wanted.keys() if stored.get(key) != wanted.get(key)
        }
        raise StoreUnavailableError(
            f"{len(differing)} records are not as in the backup, such as '{min(differing)}': "
            "something else writes below this prefix; repeat this command"
        )


async def _finish(store: Store, keys: Keys, backup: Backup) -> int:
    kept = dict(backup.records).get(keys.down.removeprefix(keys.root))
    last: list[Operation] = [Delete(keys.restore)]
    last += [Delete(keys.down) if kept is None else Put(keys.down, kept)]
    header = backup.header
    details = {"made_at": header.made_at, "revision": str(header.revision), "sha256": backup.sha256}
    last += [note_of_etcd_owner(keys, "mgrd restore", details)]
    return await _commit(store, keys, last)


async def _commit(store: Store, keys: Keys, operations: Sequence[Operation]) -> int:
    outcome = await store.commit(
        operations, when=[Created(keys.leader, ABSENT)], timeout_s=TIMEOUT_S
    )
    if not outcome.succeeded:
        raise StoreUnavailableError(
            "a manager took leadership meanwhile ('mgr set down false'?): stop it, and repeat this "
            "command"
        )
    return outcome.revision


def _batches(operations: Sequence[Delete | Put]) -> Iterator[list[Delete | Put]]:
    batch: list[Delete | Put] = []
    size = 0
    for operation in operations:
        chars = len(operation.key) + (len(operation.value) if isinstance(operation, Put) else 0)
        if batch and (len(batch) == BATCH_OPERATIONS or size + chars > BATCH_CHARS):
            yield batch
            batch, size = [], 0
        batch.append(operation)
        size += chars
    if batch:
        yield batch


def needs(records: Sequence[Entry], keys: Keys) -> list[str]:
    """Return what a restored cluster needs that no backup has, each in a sentence."""
    found = {keys.root + key for key, _ in records}
    lines = []
    if any(key.startswith(keys.seals) for key in found):
        lines.append(
            "secrets are sealed: managers need the same seal_key_file or seal_command as before"
        )
    if keys.authority in found:
        lines.append(
            "the cluster has a CA of its own: managers need their tls_dir, and one of them needs "
            "ca.passphrase in it, or no certificate can be signed"
        )
    return lines


def _too_far(target: int, revision: int) -> str:
    return (
        f"etcd is at revision {revision}, and terms up to {target} were given out: they must keep "
        f"growing. Raise it first, while etcd is empty: 'etcdctl snapshot save', then "
        f"'etcdutl snapshot restore --bump-revision {target} --mark-compacted' (see "
        '"Lose etcd, or move to another one" in docs/how-to/back-up-and-restore.md)'
    )

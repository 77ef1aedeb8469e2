"""The state file: it keeps the id of the etcd cluster and its newest revision over a restart.

Only the guard writes it. It is a few hundred bytes of JSON, replaced as a whole, so a crash
leaves the old one or the new one. A file that cannot be read was damaged by something else, and
is an error: without it, a manager could not notice that etcd was replaced or restored.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final, Self

import msgspec

from mgr.errors import InvalidSettingError, MgrError, why
from mgr.link import KnownStoreState
from mgr.settings import Settings
from mgr.store.identity import StoreIdentity
from mgr.waiting import wait

WRITE_EVERY_S: Final = 60.0
"""Interval at which a new revision alone is written; a new cluster id or term is written at once.
"""

log = logging.getLogger(__name__)


class StateRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of the file.

    Attributes:
        etcd_cluster_id: In hexadecimal, as etcd writes it; empty: not known yet, any is accepted.
        newest_revision: The newest revision of etcd that was observed.
        newest_term: The newest term that was observed.

    """

    etcd_cluster_id: str = ""
    newest_revision: int = 0
    newest_term: int = 0


class StateFile:
    """``<state_dir>/<cluster>.<id>.json``."""

    def __init__(self, path: Path) -> None:
        """Use ``path``; its folder is created with the first write."""
        self._path = path
        self._written = KnownStoreState()

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """Return the file that ``settings`` name; None if nothing is kept on disk."""
        if not settings.state_dir:
            return None
        return cls(Path(settings.state_dir) / f"{settings.cluster}.{settings.id}.json")

    def read(self) -> KnownStoreState:
        """Return the content of the file; an empty state if there is none.

        Also writes it back, to find out at the start whether it can be written.

        Raises:
            InvalidSettingError: It cannot be read or written; the message says what to do.

        """
        seen = self.load()
        try:
            self.write(seen)
        except OSError as error:
            raise InvalidSettingError(
                f"state_dir: cannot write {self._path}: {error.strerror}"
            ) from None
        return seen

    def load(self) -> KnownStoreState:
        """Return the content of the file; an empty state if there is none. Writes nothing.

        Raises:
            InvalidSettingError: It cannot be read; the message says what to do.

        """
        try:
            record = msgspec.json.decode(self._path.read_bytes(), type=StateRecord)
            return KnownStoreState(
                cluster_id=int(record.etcd_cluster_id or "0", 16),
                newest_revision=record.newest_revision,
                newest_term=record.newest_term,
            )
        except FileNotFoundError:
            return KnownStoreState()
        except (OSError, ValueError, msgspec.MsgspecError) as error:
            raise InvalidSettingError(
                f"state_dir: cannot read {self._path}: {why(error)}. It remembers which etcd "
                "cluster is meant: copy it from another manager of this cluster, or remove it if "
                "etcd was not replaced or restored since"
            ) from None

    def write(self, seen: KnownStoreState) -> None:
        """Replace the content of the file by ``seen``, atomically.

        Raises:
            OSError: The file cannot be written; it is unchanged.

        """
        record = StateRecord(
            etcd_cluster_id=f"{seen.cluster_id:x}" if seen.cluster_id else "",
            newest_revision=seen.newest_revision,
            newest_term=seen.newest_term,
        )
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = self._path.with_suffix(".tmp")
        # A new file: one that is there already may be a link to a file of somebody else.
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "wb") as file:  # noqa: PTH123 - pathlib opens no descriptor
            file.write(msgspec.json.format(msgspec.json.encode(record)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        self._written = seen

    @contextlib.asynccontextmanager
    async def keep_up_to_date(self, identity: StoreIdentity) -> AsyncIterator[None]:
        """Write changes of ``identity`` to the file while the body runs, and at its end."""
        changed = asyncio.Event()
        identity.subscribe(changed.set)
        failure: MgrError | None = None
        async with asyncio.TaskGroup() as tasks:
            writer = tasks.create_task(self._write_changes(identity, changed))
            try:
                yield
            except MgrError as error:
                # Raised after the task group, which would wrap it in an exception group.
                failure = error
            finally:
                writer.cancel()
        await self._save(identity.seen)
        if failure:
            raise failure

    async def _write_changes(self, identity: StoreIdentity, changed: asyncio.Event) -> None:
        while True:
            changed.clear()
            await self._save(identity.seen)
            await wait(changed, WRITE_EVERY_S)

    async def _save(self, seen: KnownStoreState) -> None:
        if seen == self._written:
            return
        try:
            # In a thread: a disk may take seconds, in which the loop could not renew the lease.
            await asyncio.to_thread(self.write, seen)
        except OSError as error:
            fields = {"file": str(self._path), "error": str(error)}
            log.warning("state file not written", extra=fields)

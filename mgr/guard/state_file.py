"""The file that remembers over a restart which etcd cluster is meant, and how far it got.

Only the guard writes it. It is a few hundred bytes of JSON, replaced as a whole, so a crash
leaves the old one or the new one. A file that cannot be read was damaged by something else, and
is an error: going on without it would silently give up what it is there for.
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

from mgr.errors import InvalidSettingError, MgrError
from mgr.link import KnownStoreState
from mgr.settings import Settings
from mgr.store.identity import StoreIdentity

WRITE_EVERY_S: Final = 60.0
"""How often the newest revision alone is written; a new cluster id or term is at once."""

log = logging.getLogger(__name__)


class StateRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the file holds.

    Attributes:
        etcd_cluster_id: In hexadecimal, as etcd writes it; empty: that which etcd has then.
        newest_revision: The newest revision of etcd that was seen.
        newest_term: The newest term that was seen.

    """

    etcd_cluster_id: str = ""
    newest_revision: int = 0
    newest_term: int = 0


class StateFile:
    """``<state_dir>/<cluster>.<id>.json``."""

    def __init__(self, path: Path) -> None:
        """Use ``path``; its folder is made with the first write."""
        self._path = path
        self._written = KnownStoreState()

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """Return the file that ``settings`` name; None if nothing is kept on disk."""
        if not settings.state_dir:
            return None
        return cls(Path(settings.state_dir) / f"{settings.cluster}.{settings.id}.json")

    def read(self) -> KnownStoreState:
        """Return what the file holds; nothing known if there is none. It can be written, too.

        Raises:
            InvalidSettingError: It cannot be read or written; the text says what to do.

        """
        try:
            record = msgspec.json.decode(self._path.read_bytes(), type=StateRecord)
            seen = KnownStoreState(
                cluster_id=int(record.etcd_cluster_id or "0", 16),
                newest_revision=record.newest_revision,
                newest_term=record.newest_term,
            )
        except FileNotFoundError:
            seen = KnownStoreState()
        except (OSError, ValueError, msgspec.MsgspecError) as error:
            raise InvalidSettingError(
                f"state_dir: cannot read {self._path}: {error}. It remembers which etcd cluster "
                "is meant: copy it from another manager of this cluster, or remove it if etcd was "
                "not replaced or restored since"
            ) from None
        try:
            self.write(seen)
        except OSError as error:
            raise InvalidSettingError(
                f"state_dir: cannot write {self._path}: {error.strerror}"
            ) from None
        return seen

    def write(self, seen: KnownStoreState) -> None:
        """Replace the file by one that holds ``seen``, or leave it as it is.

        Raises:
            OSError: It cannot be written.

        """
        record = StateRecord(
            etcd_cluster_id=f"{seen.cluster_id:x}" if seen.cluster_id else "",
            newest_revision=seen.newest_revision,
            newest_term=seen.newest_term,
        )
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = self._path.with_suffix(".tmp")
        with draft.open("wb") as file:
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
        """Keep the file up to date with ``identity`` while the body runs, and at its end."""
        changed = asyncio.Event()
        identity.subscribe(changed.set)
        failure: MgrError | None = None
        async with asyncio.TaskGroup() as tasks:
            writer = tasks.create_task(self._write_changes(identity, changed))
            try:
                yield
            except MgrError as error:
                # Not out of the task group, which would wrap it.
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
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(WRITE_EVERY_S):
                    await changed.wait()

    async def _save(self, seen: KnownStoreState) -> None:
        if seen == self._written:
            return
        try:
            # A disk may take seconds, in which a lease would not be renewed.
            await asyncio.to_thread(self.write, seen)
        except OSError as error:
            fields = {"file": str(self._path), "error": str(error)}
            log.warning("state file not written", extra=fields)

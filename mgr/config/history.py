"""The history of option changes, for ``config log`` and ``config reset``.

A change and its record are written in one transaction, so neither exists without the other. The
records are versions, numbered from 1 without a gap; the oldest are deleted when there are too many
(docs/adr/0016).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from functools import partial
from operator import attrgetter
from typing import Final, NamedTuple

import msgspec

from mgr.clock import timestamp
from mgr.errors import ConflictError, InvalidArgumentError, StoreUnavailableError
from mgr.store.api import (
    ABSENT,
    OPERATIONS_MAX,
    UNREADABLE,
    Compare,
    Created,
    Delete,
    FencedWriter,
    Operation,
    Put,
    Reader,
    Record,
    as_seen,
)
from mgr.store.computed import ComputedWrite, commit_computed
from mgr.store.fenced import FENCE_COMPARES
from mgr.store.keys import Keys

VERSIONS_MAX: Final = 100
"""How many versions are kept."""
BYTES_MAX: Final = 4 << 20
"""Most characters that all versions together take, in the store and in each manager's memory."""
SWEPT_MAX: Final = 16
"""Most old versions deleted along with one change: the size of a transaction is limited. They are
deleted once there are so many: each key makes a transaction slower."""
TIMEOUT_S: Final = 5.0
"""Time limit of one change, including the wait for earlier changes."""

_TEXT: Final = attrgetter("value")

log = logging.getLogger(__name__)


class OptionChange(msgspec.Struct, frozen=True, kw_only=True):
    """The change of one option; None where no value was or is stored."""

    section: str
    name: str
    previous: str | None = None
    value: str | None = None


class ConfigVersion(msgspec.Struct, frozen=True, kw_only=True):
    """The changes of one transaction. ``at`` is wall time in ISO 8601, for display only.

    ``by`` is the author, such as ``client.ops`` or ``module hello``; empty: the manager.
    """

    number: int
    at: str
    text: str = ""
    by: str = ""
    changes: tuple[OptionChange, ...] = ()


class _Description(NamedTuple):
    """What a version is, who made it, and after which version it has to come (None: any)."""

    text: str
    by: str
    after: int | None = None


class _OutdatedError(Exception):
    """The options were changed after the version that a change builds on."""


class ConfigHistory:
    """Writes options and records what they were before. The active changes options only by this."""

    def __init__(self, keys: Keys, mirror: Reader, writer: FencedWriter) -> None:
        """Read ``mirror`` and write by ``writer``, whose writes ``mirror`` shows at once."""
        self._keys = keys
        self._mirror = mirror
        self._writer = writer
        self._turn = asyncio.Lock()

    def versions(self) -> list[ConfigVersion]:
        """Return the last ``VERSIONS_MAX`` versions, newest first, as far as they are kept."""
        records = self._mirror.list(self._keys.changes)
        found = [version for _, version in reversed(list(_read(records)))]
        # A few more may be stored: they are deleted many at a time.
        return [each for each in found if each.number > found[0].number - VERSIONS_MAX]

    async def commit(
        self,
        operations: Sequence[Put | Delete],
        text: str = "",
        *,
        by: str = "",
        after: int | None = None,
    ) -> None:
        """Write ``operations``, all on options, as one version; ``text`` describes it.

        ``by`` is its author. With ``after``, that must be the newest version (0: there is none);
        otherwise ``ConflictError`` is raised.

        No version is made if nothing changes. Raises what ``FencedStore.commit`` raises.
        """
        ends_at = asyncio.get_running_loop().time() + TIMEOUT_S
        async with self._in_turn(ends_at):
            await self._commit(operations, _Description(text, by, after), ends_at)

    async def ensure(self, puts: Sequence[Put], text: str = "", *, by: str = "") -> None:
        """Like ``commit``, but values that are already stored are not written again."""
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + TIMEOUT_S
        async with self._in_turn(ends_at):
            keys = [put.key for put in puts]
            found = await self._writer.read_settled(keys, timeout_s=ends_at - loop.time())
            missing = [put for put in puts if _value(found.get(put.key)) != put.value]
            if missing:
                await self._commit(missing, _Description(text, by), ends_at)

    async def reset(self, number: int, *, by: str = "") -> bool:
        """Restore the options as they were after version ``number``; this makes a new version.

        Returns False if nothing differs, so that nothing was written.

        Raises:
            InvalidArgumentError: That version is not kept; the message names those that are.

        """
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + TIMEOUT_S
        async with self._in_turn(ends_at):
            # The versions are read as well: one that the mirror does not show yet may have changed
            # further options.
            prefixes = (self._keys.changes, self._keys.config)
            await self._writer.read_settled((), prefixes, timeout_s=ends_at - loop.time())
            operations = self._back_to(number)
            if not operations:
                return False
            await self._commit(operations, _Description(f"reset to {number}", by), ends_at)
        return True

    def _back_to(self, number: int) -> list[Put | Delete]:
        versions = self.versions()
        newest = versions[0].number if versions else 0
        # The oldest version records the values before it, so that state can be restored too.
        oldest = versions[-1].number - 1 if versions else 0
        if not oldest <= number <= newest:
            raise InvalidArgumentError(
                "must specify a valid historical version to revert to; see 'config log' for "
                f"a list of available configuration historical versions ({oldest} to {newest})"
            )
        wanted: dict[str, str | None] = {}
        for version in versions:
            if version.number > number:
                for change in version.changes:
                    wanted[self._keys.option(change.section, change.name)] = change.previous
        return [
            Delete(key) if value is None else Put(key, value)
            for key, value in wanted.items()
            if _value(self._mirror.get(key)) != value
        ]

    @contextlib.asynccontextmanager
    async def _in_turn(self, ends_at: float) -> AsyncIterator[None]:
        # One change at a time: the next number and the previous values are read before the write.
        try:
            async with asyncio.timeout_at(ends_at):
                await self._turn.acquire()
        except TimeoutError:
            raise StoreUnavailableError(
                f"earlier changes of options did not finish within {TIMEOUT_S:g} s; "
                "this one was not sent"
            ) from None
        try:
            yield
        finally:
            self._turn.release()

    async def _commit(
        self, operations: Sequence[Put | Delete], description: _Description, ends_at: float
    ) -> None:
        left_s = ends_at - asyncio.get_running_loop().time()
        compute = partial(self._computed, operations, description)
        try:
            await commit_computed(compute, self._writer, timeout_s=left_s)
        except _OutdatedError as error:
            raise ConflictError(str(error)) from None
        except ConflictError:
            raise ConflictError(
                "options are being changed directly in etcd, not through this manager; try again"
            ) from None

    def _computed(
        self, operations: Sequence[Put | Delete], description: _Description
    ) -> ComputedWrite:
        """Return ``operations`` and their version, on condition that the mirror is up to date."""
        kept = self._mirror.list(self._keys.changes)
        # In key order. A key that is no number was written by hand and sorts after all numbers.
        number = next(filter(None, map(_number, reversed(kept))), 0) + 1
        if description.after not in {None, number - 1}:
            raise _OutdatedError(
                f"options were changed meanwhile: the newest version is {number - 1}, not "
                f"{description.after}; see 'config log', and begin again"
            )
        key = self._keys.change(number)
        planned: list[Operation] = list(operations)
        # Operations that change nothing are sent all the same: their success proves that the value
        # is really stored.
        if changes := tuple(self._changes(operations)):
            version = ConfigVersion(
                number=number,
                at=timestamp(),
                text=description.text,
                by=description.by,
                changes=changes,
            )
            last = self._keys.change(max(number - VERSIONS_MAX, 0))
            planned += [
                Put(key, msgspec.json.encode(version).decode()),
                *(Delete(old) for old in _too_old(kept, last)),
            ]
        # Does not hold if another version was written that the mirror does not show yet.
        when: list[Compare] = [Created(key, ABSENT)]
        # Do not hold if somebody wrote an option directly in etcd. Left out if the transaction
        # would become too large.
        seen = [as_seen(each.key, self._mirror.get(each.key)) for each in operations]
        if len(planned) + len(when) + len(seen) <= OPERATIONS_MAX - FENCE_COMPARES:
            when += seen
        return ComputedWrite(planned, when)

    def _changes(self, operations: Sequence[Put | Delete]) -> Iterator[OptionChange]:
        for operation in operations:
            previous = _value(self._mirror.get(operation.key))
            value = operation.value if isinstance(operation, Put) else None
            if value != previous:
                section, _, name = operation.key.removeprefix(self._keys.config).partition("/")
                yield OptionChange(section=section, name=name, previous=previous, value=value)


def _value(record: Record | None) -> str | None:
    return None if record is None else record.value


def _number(key: str) -> int:
    digits = key.rpartition("/")[2]
    return int(digits) if digits.isdecimal() else 0


def _too_old(kept: Mapping[str, Record], last: str) -> list[str]:
    """Return the keys to delete, oldest first: up to ``last``, and more while all are too large.

    None, as long as they are few and not too large.
    """
    size = sum(map(len, map(_TEXT, kept.values())))
    found: list[str] = []
    if size <= BYTES_MAX and len(kept) < VERSIONS_MAX + SWEPT_MAX:
        return found
    for key, record in kept.items():
        if len(found) == SWEPT_MAX or (key > last and size <= BYTES_MAX):
            break
        found.append(key)
        size -= len(record.value)
    return found


def _read(records: Mapping[str, Record]) -> Iterator[tuple[str, ConfigVersion]]:
    for key, record in records.items():
        try:
            yield key, msgspec.json.decode(record.value, type=ConfigVersion)
        except UNREADABLE as error:
            log.warning("unreadable version of options", extra={"key": key, "error": str(error)})

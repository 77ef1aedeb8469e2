"""Published maps: named, versioned documents that any client may publish and every module reads.

A map's version is the store's revision of its last change. So versions grow with every change, also
across removals and failovers, and no counter has to be stored.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn, Protocol, Self

import msgspec

from mgr.cluster.frozen import freeze
from mgr.cluster.owned import owned
from mgr.errors import (
    ConflictError,
    InvalidArgumentError,
    NotFoundError,
    NotPermittedError,
    TooLargeError,
)
from mgr.store.api import ABSENT, Compare, Delete, Modified, Operation, Put, Revision
from mgr.store.fenced import FencedStore
from mgr.store.keys import NAME, Keys
from mgr.store.mirror import KeyChange, Mirror

BYTES_MAX: Final = 1 << 20
"""Limit of one map, as JSON. etcd accepts 1.5 MiB in one request."""
CHECKED_INLINE_MAX: Final = 32 << 10
"""A longer map is checked in a thread."""
MAPS_MAX: Final = 1000
TOTAL_BYTES_MAX: Final = 64 << 20
"""Limit of all maps together: every manager keeps them in memory."""
DEPTH_MAX: Final = 64
"""Limit of nested dictionaries and lists; deeper ones exceed the recursion limit of readers."""
UNVERSIONED: Final = 0
"""The version of a document of the manager itself, and of a map that does not exist."""

_OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
"""Checks the syntax without decoding the values."""
_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_LARGE_NUMBER: Final = re.compile(rb"[eE]\+?\d{3}|\d{300}")
_NO_BRACKETS: Final = bytes(each for each in range(256) if each not in b"[]{}")
_ONE_KIND: Final = bytes.maketrans(b"{}", b"[]")


@dataclass(frozen=True, slots=True)
class Map:
    """One version of a map. ``text`` is JSON."""

    name: str
    version: int
    text: str


@dataclass(frozen=True, slots=True)
class MapRemoved:
    """Event: a map was removed."""

    name: str


class BuiltinDocuments(Protocol):
    """The documents that the manager makes itself."""

    def get(self, name: str) -> Any:
        """Return the document, None if there is none. From any thread."""
        ...

    def reserved(self, name: str) -> bool:
        """Return whether clients may not publish under ``name``."""
        ...

    def version(self, name: str) -> tuple[Any, bool] | None:
        """Return the document, read only, and whether it holds until ``on_changed`` names it."""
        ...

    def on_changed(self, listener: Callable[[Sequence[str]], None]) -> Callable[[], None]:
        """Call ``listener`` with the names of changed documents; returns what ends that."""
        ...


class Maps:
    """All maps of the cluster. Use it on the loop; ``read`` from any thread."""

    def __init__(
        self, mirror: Mirror, keys: Keys, fenced: FencedStore, builtin: BuiltinDocuments
    ) -> None:
        """Store maps with ``fenced``; documents of ``builtin`` take precedence over them."""
        self._mirror = mirror
        self._keys = keys
        self._fenced = fenced
        self._builtin = builtin
        self._prefix = keys.maps
        self._creating: set[str] = set()
        self._read: dict[str, tuple[int, Any]] = {}

    # -- reading ----------------------------------------------------------------------------

    def read(self, name: str) -> Any:
        """Return the document, which the caller may change; None if there is none."""
        document = self._builtin.get(name)
        return owned(self.read_published(name)[1]) if document is None else document

    def read_published(self, name: str) -> tuple[int, Any]:
        """Return the version and the document of a published map; 0 and None if there is none.

        The document is read only, and the same object until the map changes. From any thread. Each
        version is decoded once, by its first reader.
        """
        record = self._mirror.get(self._prefix + name)
        if record is None:
            self._read.pop(name, None)
            return UNVERSIONED, None
        known = self._read.get(name)
        if known is None or known[0] != record.mod_revision:
            # Two threads that get here at once decode the same text; either result is right.
            known = self._read[name] = (
                record.mod_revision,
                freeze(msgspec.json.decode(record.value)),
            )
        return known

    def builtin_version(self, name: str) -> tuple[Any, bool] | None:
        """Return a document of the manager, read only, and whether it holds until it is named.

        None if there is none of this name; a map may be published under it. On the loop only.
        """
        return self._builtin.version(name)

    def on_builtin_changed(self, listener: Callable[[Sequence[str]], None]) -> Callable[[], None]:
        """Call ``listener`` with the names of the manager's documents that have changed.

        It is called as soon as they are out of date. Returns a function that ends this.
        """
        return self._builtin.on_changed(listener)

    def get(self, name: str) -> Map:
        """Return a published map, or a document of the manager itself in its current state.

        From any thread.

        Raises:
            NotFoundError: There is no map or document of this name.

        """
        builtin = self._builtin.get(name)
        if builtin is not None:
            return Map(name, UNVERSIONED, json.dumps(builtin))
        found = self.find(name)
        if found is None:
            raise NotFoundError(f"there is no map '{name}'")
        return found

    def find(self, name: str) -> Map | None:
        """Return a published map, None if there is none of this name."""
        record = self._mirror.get(self._prefix + name)
        return None if record is None else Map(name, record.mod_revision, record.value)

    def all(self, beginning: str = "") -> Iterator[Map]:
        """Yield every published map whose name begins with ``beginning``, sorted by name."""
        start = len(self._prefix)
        for key, record in self._mirror.list(self._prefix + beginning).items():
            yield Map(key[start:], record.mod_revision, record.value)

    def versions(self) -> dict[str, int]:
        """Return the version of every published map, by name. From any thread."""
        return {each.name: each.version for each in self.all()}

    def watch(self, beginning: str = "") -> MapWatch:
        """Watch maps whose names begin with ``beginning``: ``with maps.watch() as watch``."""
        return MapWatch(self, self._mirror, self._prefix, beginning)

    # -- changing ---------------------------------------------------------------------------

    async def set(
        self,
        name: str,
        text: str,
        expected_version: int | None = None,
        *,
        along: Sequence[Operation] = (),
    ) -> int:
        """Publish ``text`` under ``name``; return its version.

        ``along`` is written in the same transaction, if there is anything to change.

        Equal text changes nothing. With ``expected_version`` the map is published only if that is
        the current version; 0 means that there must be no map.

        Raises:
            InvalidArgumentError: The name is invalid, or the text is not a JSON object.
            TooLargeError: The map, or all maps together, would be above the limit.
            NotPermittedError: The name belongs to a document of the manager itself.
            ConflictError: The current version is another one.
            MgrError: As raised by writes; see ``mgr.store.fenced``.

        """
        self._check_name(name)
        if len(text) <= CHECKED_INLINE_MAX:
            size = _check_text(name, text)
        else:
            # It takes up to a tenth of a second, in which the loop would answer nobody.
            size = await asyncio.to_thread(_check_text, name, text)
        known = self.find(name)
        self._check_version(name, known, expected_version)
        if known is not None and known.text == text:
            # Before "nothing to change" is answered: an earlier write with an unknown outcome may
            # still take effect. This read makes sure that none is pending.
            known = await self._find_settled(name)
            self._check_version(name, known, expected_version)
            if known is not None and known.text == text:
                return known.version
        self._check_room(name, size - (len(known.text) if known else 0), new=known is None)
        key = self._keys.map(name)
        self._creating.add(name)
        try:
            return await self._fenced.commit([Put(key, text), *along], _when(key, expected_version))
        except ConflictError:
            self._refuse(name, expected_version)
        finally:
            self._creating.discard(name)

    async def remove(
        self,
        name: str,
        expected_version: int | None = None,
        *,
        along: Sequence[Operation] = (),
    ) -> bool:
        """Remove a map; False if there is none. Expected version and ``along`` as for ``set``.

        Raises:
            ConflictError: The current version is another one.
            MgrError: As raised by writes; see ``mgr.store.fenced``.

        """
        known = self.find(name)
        if known is None and not NAME.fullmatch(name):
            return False
        if known is None and expected_version is not None:
            known = await self._find_settled(name)
            if known is None:
                return False
        self._check_version(name, known, expected_version)
        key = self._keys.map(name)
        # Deleted even if absent: an earlier write with an unknown outcome may still take effect.
        try:
            await self._fenced.commit([Delete(key), *along], _when(key, expected_version))
        except ConflictError:
            self._refuse(name, expected_version)
        return known is not None

    async def _find_settled(self, name: str) -> Map | None:
        """Return the map as ``find``, after all earlier writes took effect or cannot any more."""
        await self._fenced.read_settled((self._keys.map(name),))
        return self.find(name)

    def _check_name(self, name: str) -> None:
        if not NAME.fullmatch(name):
            raise InvalidArgumentError(
                f"map {name!r}: use 1 to 63 of A-Z a-z 0-9 _ . - and begin with a letter or digit"
            )
        if self._builtin.reserved(name):
            raise NotPermittedError(f"'{name}' is a name of the manager itself: take another one")

    def _check_version(self, name: str, known: Map | None, expected: int | None) -> None:
        if expected is not None and expected != (known.version if known else UNVERSIONED):
            self._refuse(name, expected)

    def _check_room(self, name: str, more: int, *, new: bool) -> None:
        names = self._mirror.list(self._prefix)
        if new and len(names) + len(self._creating - {name}) >= MAPS_MAX:
            raise TooLargeError(f"there are {MAPS_MAX} maps: remove one before you publish another")
        total = sum(len(record.value) for record in names.values()) + more
        if total > TOTAL_BYTES_MAX:
            raise TooLargeError(
                f"with '{name}' all maps together would have {total} characters; the limit is "
                f"{TOTAL_BYTES_MAX}"
            )

    def _refuse(self, name: str, expected: int | None) -> NoReturn:
        now = self.find(name)
        there = f"is at version {now.version}" if now else "is not there"
        raise ConflictError(f"map '{name}' {there}; version {expected} was expected")


class MapWatch:
    """Changes of maps since the last call of ``next``.

    Only the newest state of each map is returned, so a slow reader has no growing queue.
    """

    def __init__(self, maps: Maps, mirror: Mirror, prefix: str, beginning: str) -> None:
        """Made by ``Maps.watch``."""
        self._maps = maps
        self._mirror = mirror
        self._prefix = prefix
        self._beginning = beginning
        self._changed: dict[str, None] = {}
        self._sent: set[str] = set()
        self._has_changes = asyncio.Event()
        self._forget: Callable[[], None] = lambda: None

    def __enter__(self) -> Self:
        self._forget = self._mirror.subscribe(self._prefix + self._beginning, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        self._forget()

    def first(self) -> Iterator[Map]:
        """Yield each existing map in its current state. Exhaust it before ``next``."""
        for name in [each.name for each in self._maps.all(self._beginning)]:
            found = self._maps.find(name)
            if found is not None:
                # Read just now: an earlier change of it need not be sent.
                self._changed.pop(name, None)
                self._sent.add(name)
                yield found

    async def next(self) -> Map | MapRemoved:
        """Wait for a change and return the map in its current state."""
        while not self._changed:
            self._has_changes.clear()
            await self._has_changes.wait()
        name = next(iter(self._changed))
        del self._changed[name]
        found = self._maps.find(name)
        if found is not None:
            self._sent.add(name)
            return found
        self._sent.discard(name)
        return MapRemoved(name)

    def _note(self, changes: Sequence[KeyChange]) -> None:
        for change in changes:
            name = change.key.removeprefix(self._prefix)
            if change.record is None and name not in self._sent:
                # Created and removed before it was sent. If such names were kept, the dictionary
                # would grow without limit.
                self._changed.pop(name, None)
            else:
                self._changed[name] = None
        if self._changed:
            self._has_changes.set()


def _when(key: str, expected: int | None) -> tuple[Compare, ...]:
    if expected is None:
        return ()
    return (Modified(key, Revision(expected) if expected else ABSENT),)


def _check_text(name: str, text: str) -> int:
    """Return the length of ``text`` in bytes; raise if it may not be published."""
    try:
        encoded = text.encode()
    except UnicodeEncodeError:
        raise InvalidArgumentError(f"map '{name}' cannot be written as UTF-8") from None
    if len(encoded) > BYTES_MAX:
        raise TooLargeError(f"map '{name}' has {len(encoded)} bytes; the limit is {BYTES_MAX}")
    try:
        _OBJECT.decode(encoded)
        _check_inside(name, encoded)
    except RecursionError:
        raise _too_deep(name) from None
    except msgspec.ValidationError as error:
        raise InvalidArgumentError(f"map '{name}' is no JSON object: {error}") from None
    except msgspec.DecodeError as error:
        raise InvalidArgumentError(f"map '{name}' is not JSON: {error}") from None
    return len(encoded)


def _check_inside(name: str, encoded: bytes) -> None:
    """Refuse numbers and nesting that readers cannot handle.

    It does not decode the text: that would block the loop.
    """
    bare = _STRING.sub(b"", encoded)
    if _LARGE_NUMBER.search(bare):
        msgspec.json.decode(encoded)
    brackets = bare.translate(_ONE_KIND, _NO_BRACKETS)
    for _ in range(DEPTH_MAX):
        # Each pass removes the innermost level.
        brackets = brackets.replace(b"[]", b"")
        if not brackets:
            return
    raise _too_deep(name)


def _too_deep(name: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"map '{name}' is nested deeper than {DEPTH_MAX} levels")

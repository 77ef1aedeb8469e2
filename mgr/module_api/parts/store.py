"""Gives a module its own keys of the key/value store, without the module's prefix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar, Final

from mgr.module_api.context import StandbyContext
from mgr.module_api.declared import ActiveModuleBase

NOTHING: Final[Mapping[str, str | None]] = MappingProxyType({})


class StoreMixin(ActiveModuleBase):
    """Gives a module persistent entries (key and text), which survive restarts and failovers."""

    SHARED_STORE: ClassVar[Sequence[str]] = ()
    """Prefixes of the keys that other modules may read. Ours, not ceph-mgr's."""

    def get_store(self, key: str, default: str | None = None) -> str | None:
        """Return the value stored under ``key`` of this module, or ``default``."""
        value = self._context.get_store(key)
        return default if value is None else value

    def set_store(self, key: str, val: str | None) -> None:
        """Store ``val`` under ``key`` of this module; None removes it. Returns once it is stored.

        Raises:
            TypeError: ``val`` is neither text nor None.
            ValueError: The key or the value contains a NUL character.

        """
        _check(key, val)
        self._context.set_store(key, val)

    def get_store_prefix(self, key_prefix: str) -> dict[str, str]:
        """Return this module's entries with that prefix: full keys, ascending."""
        return self._context.get_store_prefix(key_prefix)

    def get_localized_store(self, key: str, default: str | None = None) -> str | None:
        """Return the value stored for this manager alone, else for all, else ``default``."""
        return localized_store(self._context, key, default)

    def set_localized_store(self, key: str, val: str | None) -> None:
        """Like ``set_store``, for this manager alone."""
        self.set_store(f"{self.get_mgr_id()}/{key}", val)

    def get_store_ex(self, module: str, key: str, default: str | None = None) -> str | None:
        """Return the value that another running module has under ``key``, or ``default``.

        Raises:
            ImportError: No such module is running.
            PermissionError: That module does not share this key; see ``SHARED_STORE``.

        """
        shared: str | None = self._context.remote(module, "_shared_entry", (key,), {})
        return default if shared is None else shared

    def _shared_entry(self, key: str) -> str | None:
        if not key.startswith(tuple(self.SHARED_STORE)):
            raise PermissionError(f"module {self.module_name!r} does not share {key!r}")
        return self.get_store(key)

    # -- ours, not ceph-mgr's: docs/adr/0015 ------------------------------------------------

    def compare_and_set_store(self, key: str, expected: str | None, val: str | None) -> bool:
        """Store ``val`` under ``key`` if its value is ``expected``; return whether it was.

        None stands for an absent key. Short form of ``commit_store``; see there.
        """
        return self.commit_store({key: val}, {key: expected})

    def commit_store(
        self,
        changes: Mapping[str, str | None],
        expected: Mapping[str, str | None] = NOTHING,
    ) -> bool:
        """Store all of ``changes`` atomically, if the keys in ``expected`` have these values.

        Either everything is stored or nothing, whatever happens to this manager meanwhile, and
        only while it is the active. None as a value removes a key, or expects it to be absent.
        Returns True if all of it is stored and visible to every thread; False if a key had another
        value. Then nothing changed: read the current values.

        Raises:
            TypeError: A value is neither text nor None.
            ValueError: A key or a value contains a NUL character.

        """
        for each in (changes, expected):
            for key, value in each.items():
                _check(key, value)
        return self._context.commit_store(dict(changes), dict(expected))

    def watch_store(self, key_prefix: str) -> None:
        """Get notified of every change of this module's keys that begin with ``key_prefix``.

        ``notify("store", key)`` is called on the command thread after every change, also after
        this module's own. Several changes of one key may be merged into one notification. An empty
        key means that too many keys changed to list them. Existing values are not notified: watch
        first, then read. The watch ends with this instance of the module.
        """
        self._context.watch_store(key_prefix)

    def unwatch_store(self, key_prefix: str) -> None:
        """End ``watch_store`` of the same prefix."""
        self._context.unwatch_store(key_prefix)


def localized_store(context: StandbyContext, key: str, default: str | None) -> str | None:
    """Return the value stored for this manager alone, else for all, else ``default``."""
    for candidate in (f"{context.manager_id}/{key}", key):
        value = context.get_store(candidate)
        if value is not None:
            return value
    return default


def _check(key: str, value: object) -> None:
    if value is not None and not isinstance(value, str):
        kind = type(value).__name__
        raise TypeError(f"set_store({key!r}): expected text or None, got {kind}")
    if "\0" in key or (value and "\0" in value):
        raise ValueError("embedded null character")

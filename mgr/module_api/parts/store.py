"""The key/value store as a module sees it: its own keys, under their short names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar, Final

from mgr.module_api.context import StandbyContext
from mgr.module_api.declared import ActiveModuleBase

NOTHING: Final[Mapping[str, str | None]] = MappingProxyType({})


class StoreMixin(ActiveModuleBase):
    """The part of ``MgrModule`` about what must survive it."""

    SHARED_STORE: ClassVar[Sequence[str]] = ()
    """How keys begin that other modules may read. Ours, not ceph-mgr's."""

    def get_store(self, key: str, default: str | None = None) -> str | None:
        """The value stored under ``key`` of this module, or ``default``."""
        value = self._context.get_store(key)
        return default if value is None else value

    def set_store(self, key: str, val: str | None) -> None:
        """Store ``val`` under ``key`` of this module; None removes it. Returns once it is stored.

        Raises:
            TypeError: ``val`` is neither text nor None.
            ValueError: There is a NUL in the key or the value.

        """
        _check(key, val)
        self._context.set_store(key, val)

    def get_store_prefix(self, key_prefix: str) -> dict[str, str]:
        """What is stored under keys of this module that begin so: whole keys, ascending."""
        return self._context.get_store_prefix(key_prefix)

    def get_localized_store(self, key: str, default: str | None = None) -> str | None:
        """The value stored for this manager alone, else for all, else ``default``."""
        return localized_store(self._context, key, default)

    def set_localized_store(self, key: str, val: str | None) -> None:
        """As ``set_store``, for this manager alone."""
        self.set_store(f"{self.get_mgr_id()}/{key}", val)

    def get_store_ex(self, module: str, key: str, default: str | None = None) -> str | None:
        """The value that another running module has under ``key``, or ``default``.

        Raises:
            ImportError: No such module is running.
            PermissionError: It does not share this key; see ``SHARED_STORE``.

        """
        shared: str | None = self._context.remote(module, "_shared_entry", (key,), {})
        return default if shared is None else shared

    def _shared_entry(self, key: str) -> str | None:
        if not key.startswith(tuple(self.SHARED_STORE)):
            raise PermissionError(f"module {self.module_name!r} does not share {key!r}")
        return self.get_store(key)

    # -- ours, not ceph-mgr's: docs/adr/0015 ------------------------------------------------

    def compare_and_set_store(self, key: str, expected: str | None, val: str | None) -> bool:
        """Store ``val`` under ``key`` if ``expected`` stands there; whether it did.

        None is a key that is absent. See ``commit_store``, of which this is the short form.
        """
        return self.commit_store({key: val}, {key: expected})

    def commit_store(
        self,
        changes: Mapping[str, str | None],
        expected: Mapping[str, str | None] = NOTHING,
    ) -> bool:
        """Store all of ``changes`` at once, if the keys in ``expected`` stand as they say.

        Either everything is stored or nothing, whatever happens to this manager meanwhile, and
        only while it is the active one. None removes a key, or expects it to be absent. True:
        all of it is stored, and visible to every thread. False: something else stands there;
        nothing changed, and reading shows what.

        Raises:
            TypeError: A value is neither text nor None.
            ValueError: There is a NUL in a key or a value.

        """
        for each in (changes, expected):
            for key, value in each.items():
                _check(key, value)
        return self._context.commit_store(dict(changes), dict(expected))

    def watch_store(self, key_prefix: str) -> None:
        """From now on, be told of every change of this module's keys that begin so.

        ``notify("store", key)`` comes on the thread of commands, whoever changed the key, this
        module included; several changes of one key may be told as one. An empty key says that
        more changed than can be told one by one. What stands there already is not told: watch
        first, then read. It ends with this instance of the module.
        """
        self._context.watch_store(key_prefix)

    def unwatch_store(self, key_prefix: str) -> None:
        """End what ``watch_store`` began with the same prefix."""
        self._context.unwatch_store(key_prefix)


def localized_store(context: StandbyContext, key: str, default: str | None) -> str | None:
    """The value stored for this manager alone, else for all, else ``default``."""
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

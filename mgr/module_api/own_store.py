"""The key/value store as a module sees it: its own keys, under their short names."""

from __future__ import annotations

from mgr.module_api.context import StandbyContext
from mgr.module_api.declared import ActiveHalf


class OwnStore(ActiveHalf):
    """The part of ``MgrModule`` about what must survive it."""

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
        if val is not None and not isinstance(val, str):
            raise TypeError(f"set_store({key!r}): expected text or None, got {type(val).__name__}")
        if "\0" in key or (val and "\0" in val):
            raise ValueError("embedded null character")
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


def localized_store(context: StandbyContext, key: str, default: str | None) -> str | None:
    """The value stored for this manager alone, else for all, else ``default``."""
    for candidate in (f"{context.manager_id}/{key}", key):
        value = context.get_store(candidate)
        if value is not None:
            return value
    return default

"""Lets an active module read and set options."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mgr.module_api.context import OptionValue
from mgr.module_api.declared import ActiveModuleBase
from mgr.module_api.option import names_of


class OptionsMixin(ActiveModuleBase):
    """Gives a module options: its own, those of other modules, and the manager's."""

    def get_module_option(self, key: str, default: OptionValue = None) -> Any:
        """Return option ``key``: the stored value, else the declared default, else ``default``.

        A stored value has the declared type; a declared default is returned as written.

        Raises:
            RuntimeError: The option is not declared.
            ValueError: The stored value does not fit the declaration.

        """
        if key not in self._option_names:
            self._validate_module_option(key)
        value = self._context.get_option(self.module_name, key)
        return self.MODULE_OPTION_DEFAULTS.get(key, default) if value is None else value

    def get_localized_module_option(self, key: str, default: OptionValue = None) -> Any:
        """Like ``get_module_option``; a value stored for this manager alone takes precedence."""
        self._validate_module_option(key)
        return self._get_module_option(key, default, self.get_mgr_id())

    def get_module_option_ex(self, module: str, key: str, default: OptionValue = None) -> Any:
        """Like ``get_module_option``, for another module; its declared default is not used."""
        if module == self.module_name:
            self._validate_module_option(key)
        value = self._context.get_option(module, key)
        return default if value is None else value

    def get_ceph_option(self, key: str) -> OptionValue:
        """Return the value of one of the manager's own options.

        Raises:
            KeyError: There is no such option.

        """
        try:
            return self._context.get_native_option(key)
        except KeyError:
            raise KeyError(f"option not found: {key}") from None

    def get_foreign_ceph_option(self, entity: str, key: str) -> OptionValue:
        """Return one of the manager's own options as ``entity`` (``mgr.b``) would read it.

        Raises:
            KeyError: There is no such option, or the entity is invalid.

        """
        return self._context.get_foreign_option(entity, key)

    def set_module_option(self, key: str, val: Any) -> None:
        """Store option ``key``; None resets it to its default. Returns once it is stored.

        Raises:
            RuntimeError: The option is not declared.
            ValueError: The value does not fit the declaration. Nothing changed.

        """
        self._validate_module_option(key)
        self._set_module_option(key, val)

    def set_localized_module_option(self, key: str, val: Any) -> None:
        """Like ``set_module_option``, for this manager alone."""
        self._validate_module_option(key)
        text = None if val is None else str(val)
        self._context.set_option(self.module_name, key, text, localized=True)

    def set_module_option_ex(self, module: str, key: str, val: Any) -> None:
        """Store an option of another module. None is stored as the text ``None``, as in ceph-mgr.

        Raises:
            ValueError: The value does not fit the declaration. Nothing changed.

        """
        if module == self.module_name:
            self._validate_module_option(key)
        self._context.set_option(module, key, str(val))

    def _validate_module_option(self, key: str) -> None:
        # The list is checked, not the cached set: a module may have added options since.
        if key not in names_of(self.MODULE_OPTIONS):
            owner = type(self).__name__
            raise RuntimeError(f"Config option '{key}' is not in {owner}.MODULE_OPTIONS")

    def _get_module_option(self, key: str, default: Any, localized_prefix: str = "") -> Any:
        name, value = self.module_name, None
        if localized_prefix and localized_prefix != self.get_mgr_id():
            # The value of another manager, as Ceph's exporter reads it to list all its targets.
            value = self._context.get_option(name, _get_localized_key(localized_prefix, key))
        if value is None:
            here = localized_prefix == self.get_mgr_id()
            value = self._context.get_option(name, key, localized=here)
        return self.MODULE_OPTION_DEFAULTS.get(key, default) if value is None else value

    def _set_module_option(self, key: str, val: Any) -> None:
        self._context.set_option(self.module_name, key, None if val is None else str(val))

    def _set_localized(self, key: str, val: Any, setter: Callable[[str, Any], None]) -> None:
        setter(_get_localized_key(self.get_mgr_id(), key), val)


def _get_localized_key(prefix: str, key: str) -> str:
    return f"{prefix}/{key}"

"""Which values in etcd are secrets and are sealed if the manager has a wrapping key."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mgr.config.secret import is_secret_name
from mgr.config.values import ConfigValues
from mgr.host.finder import DiscoveredModule
from mgr.store.keys import Keys


def secret_keys(
    keys: Keys, config: ConfigValues, catalogue: Mapping[str, DiscoveredModule]
) -> Callable[[str], bool]:
    """Return the function that decides it for an etcd key.

    These are secret: options that are marked so; the whole history of options, because it repeats
    their values; entries of the key/value store that a module marks (``SECRET_STORE_KEYS``) or
    whose names end like those of secrets.
    """

    def is_secret(key: str) -> bool:
        if key.startswith(keys.config):
            return config.is_secret(key.removeprefix(keys.config).partition("/")[2])
        if key.startswith(keys.kv):
            return is_secret_entry(key)
        return key.startswith(keys.changes)

    def is_secret_entry(key: str) -> bool:
        if is_secret_name(key):
            return True
        module, _, name = key.removeprefix(keys.module_entries).partition("/")
        found = catalogue.get(module)
        if found is None or not key.startswith(keys.module_entries):
            return False
        return any(
            name.startswith(each) if each.endswith("/") else name == each
            for each in found.secret_keys
        )

    return is_secret

"""Decides which modules run: the records in the store, and a default where there is none."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Final

from mgr.config.enabled_modules import decode, is_on
from mgr.store.keys import Keys
from mgr.store.mirror import Mirror

DEFAULT_ENABLED: Final = frozenset({"crash", "progress", "status"})
"""Modules that run unless a record disables them, so that a new cluster is useful at once."""


def enabled_modules(mirror: Mirror, keys: Keys, always_on: AbstractSet[str]) -> list[str]:
    """Return the names of all modules that should run, whether or not they are on this host."""
    enabled = DEFAULT_ENABLED | always_on
    for key, record in mirror.list(keys.modules).items():
        name = key.removeprefix(keys.modules)
        switch = decode(record.value)
        if switch is None:
            continue
        if is_on(switch, always_on=name in always_on, default=name in DEFAULT_ENABLED):
            enabled |= {name}
        else:
            enabled -= {name}
    return sorted(enabled)


def forced_off_modules(mirror: Mirror, keys: Keys) -> list[str]:
    """Return the names of all modules that an operator forced off."""
    return [
        key.removeprefix(keys.modules)
        for key, record in mirror.list(keys.modules).items()
        if (switch := decode(record.value)) is not None and switch.forced_off
    ]

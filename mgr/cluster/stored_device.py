"""What is kept of a device for good: entries of the key/value store, where Ceph has them too."""

from __future__ import annotations

import json
from typing import Any, Final

from mgr.store.api import Record

DEVICE_KEY_PREFIX: Final = "device/"
"""Prefix of these entries; the device's id follows."""
WEAR: Final = "wear_level"
EXPECTANCY: Final = ("life_expectancy_min", "life_expectancy_max", "life_expectancy_stamp")


def stored_device(record: Record | None) -> dict[str, Any]:
    """What an entry says; nothing where there is none, or where it says nothing of a device."""
    try:
        data = json.loads(record.value) if record else {}
    except ValueError:
        data = {}
    return data if isinstance(data, dict) else {}

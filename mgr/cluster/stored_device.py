"""Stored records of devices: entries of the key/value store, under the same keys as in Ceph."""

from __future__ import annotations

import json
from typing import Any, Final

from mgr.store.api import Record

DEVICE_KEY_PREFIX: Final = "device/"
"""Prefix of these entries; the device's id follows."""
WEAR: Final = "wear_level"
EXPECTANCY: Final = ("life_expectancy_min", "life_expectancy_max", "life_expectancy_stamp")


def stored_device(record: Record | None) -> dict[str, Any]:
    """Parse an entry; an empty dictionary if there is none or it is not a JSON object."""
    try:
        data = json.loads(record.value) if record else {}
    except ValueError:
        data = {}
    return data if isinstance(data, dict) else {}

"""What a worker tells the process of a module at its start, for tests without a worker."""

from __future__ import annotations

from typing import Any

from mgr.module_process.messages import dumps


def seed(entries: dict[str, str]) -> dict[str, Any]:
    """The seed of module ``m`` in term 7; ``entries`` are its stored keys."""
    return {
        "module": "m",
        "manager_id": "a",
        "cluster": "c",
        "mgr_ips": dumps({"ips": []}),
        "readonly": {},
        "options": [],
        "config": [],
        "entries": entries,
        "term": 7,
        "counters": "",
    }

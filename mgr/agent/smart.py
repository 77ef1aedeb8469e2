"""Reads the host's disks and their wear levels with smartctl, if it is installed."""

from __future__ import annotations

import json
from typing import Any, Final

from mgr.agent.program import run
from mgr.client.daemon.reported_state import Device

LIMIT_S: Final = 20.0
"""Time limit for one run of smartctl: a failing disk answers late or never."""
DISKS_MAX: Final = 256
WEAR_ATTRIBUTES: Final = (177, 202, 231, 233)
"""ATA attributes that vendors use for wear: the normalised value falls from 100 (new) to 0."""


async def devices() -> list[Device]:
    """Return all disks; one that does not answer in time is left out.

    Raises:
        OSError: There is no smartctl, or it may not be run.
        TimeoutError: The list of disks did not come in time.

    """
    _, output = await run("smartctl", "--json", "--scan", limit_s=LIMIT_S)
    found = []
    for entry in _parsed(output).get("devices", [])[:DISKS_MAX]:
        path = str(entry.get("name", ""))
        kind = str(entry.get("type", "auto"))
        if not path.startswith("/dev/"):
            continue
        try:
            _, output = await run(
                "smartctl", "--json", "-i", "-A", "-d", kind, path, limit_s=LIMIT_S
            )
        except TimeoutError:
            continue
        if (device := device_in(_parsed(output), path)) is not None:
            found.append(device)
    return found


def device_in(document: dict[str, Any], path: str) -> Device | None:
    """Read one disk from smartctl's JSON document; None if it has no serial number."""
    serial = str(document.get("serial_number", "")).strip()
    model = str(document.get("model_name") or document.get("scsi_model_name") or "").strip()
    if not serial:
        return None
    ident = "_".join(f"{model}_{serial}".split()).strip("_")
    name = path.removeprefix("/dev/")
    return Device(id=ident, name=name, path=path, wear_level=wear_level(document))


def wear_level(document: dict[str, Any]) -> float | None:
    """Return the wear level from 0 (new) to 1 (worn out); None if the disk does not report it."""
    nvme = document.get("nvme_smart_health_information_log", {}).get("percentage_used")
    if isinstance(nvme, int):
        return min(1.0, nvme / 100)
    scsi = document.get("scsi_percentage_used_endurance_indicator")
    if isinstance(scsi, int):
        return min(1.0, scsi / 100)
    for attribute in document.get("ata_smart_attributes", {}).get("table", []):
        if attribute.get("id") in WEAR_ATTRIBUTES and isinstance(attribute.get("value"), int):
            return min(1.0, max(0.0, 1 - int(attribute["value"]) / 100))
    return None


def _parsed(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}

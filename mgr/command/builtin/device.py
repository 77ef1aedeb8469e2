"""Commands ``device``: devices that daemons report (disks, ...), and their life expectancy."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from mgr.clock import timestamp
from mgr.cluster.stored_device import DEVICE_KEY_PREFIX, EXPECTANCY, stored_device
from mgr.command.builtin.call import BuiltinCommand, Call, Reply, builtin
from mgr.command.builtin.context import BuiltinContext
from mgr.command.render import table
from mgr.config.kv import checked_key
from mgr.errors import InvalidArgumentError, NotFoundError
from mgr.store.api import Delete, Put, as_seen
from mgr.store.computed import ComputedWrite, commit_computed

DEVID: Final = "name=devid,type=CephString"

Device = dict[str, Any]


def commands(context: BuiltinContext) -> list[BuiltinCommand]:
    """Return the commands of this noun."""
    noun = _Device(context)
    return [
        builtin("device ls", "Show devices", "r", noun.ls),
        builtin(f"device info {DEVID}", "Show information about a device", "r", noun.info),
        builtin(
            "device ls-by-daemon name=who,type=CephString",
            "Show devices associated with a daemon",
            "r",
            noun.by_daemon,
        ),
        builtin(
            "device ls-by-host name=host,type=CephString",
            "Show devices on a host",
            "r",
            noun.by_host,
        ),
        builtin(
            f"device set-life-expectancy {DEVID} name=from,type=CephString "
            "name=to,type=CephString,req=false",
            "Set predicted device life expectancy",
            "rw",
            noun.expect,
        ),
        builtin(
            f"device rm-life-expectancy {DEVID}",
            "Clear predicted device life expectancy",
            "rw",
            noun.unexpect,
        ),
    ]


class _Device:
    def __init__(self, context: BuiltinContext) -> None:
        self._context = context

    async def ls(self, _call: Call) -> Reply:
        return _listed(self._all())

    async def info(self, call: Call) -> Reply:
        device = self._known(call["devid"])
        facts = (
            ("device", device["devid"]),
            ("attachment", " ".join(_places(device))),
            ("daemons", " ".join(device["daemons"])),
            ("wear", _wear(device)),
            ("life expectancy", _expectancy(device)),
        )
        return Reply(device, plain="\n".join(f"{name} {fact}" for name, fact in facts if fact))

    async def by_daemon(self, call: Call) -> Reply:
        who = call["who"]
        return _listed([device for device in self._all() if who in device["daemons"]])

    async def by_host(self, call: Call) -> Reply:
        host = call["host"]
        return _listed(
            [
                device
                for device in self._all()
                if any(place["host"] == host for place in device["location"])
            ]
        )

    async def expect(self, call: Call) -> Reply:
        devid = self._known(call["devid"])["devid"]
        earliest = _parse_date(call["from"])
        latest = _parse_date(call.get("to", call["from"]))
        if latest < earliest:
            raise InvalidArgumentError("the end of a life expectancy lies before its beginning")
        fields = dict(zip(EXPECTANCY, (earliest, latest, timestamp()), strict=True))
        await self._change(devid, lambda known: {**known, **fields})
        return Reply()

    async def unexpect(self, call: Call) -> Reply:
        devid = self._known(call["devid"])["devid"]
        await self._change(
            devid, lambda known: {key: known[key] for key in known if key not in EXPECTANCY}
        )
        return Reply()

    def _all(self) -> Sequence[Device]:
        devices: Sequence[Device] = self._context.maps.read("devices")["devices"]
        return devices

    def _known(self, devid: str) -> Device:
        for device in self._all():
            if device["devid"] == devid:
                return device
        raise NotFoundError(f"device {devid} not found")

    async def _change(self, devid: str, change: Callable[[Device], Device]) -> None:
        key = self._context.keys.entry(checked_key(DEVICE_KEY_PREFIX + devid))

        def compute() -> ComputedWrite:
            record = self._context.mirror.get(key)
            fields = change(stored_device(record))
            # Deleted even if absent: an earlier write may still take effect.
            operation = Put(key, json.dumps(fields)) if fields else Delete(key)
            return ComputedWrite([operation], [as_seen(key, record)])

        await commit_computed(compute, self._context.fenced)


def _parse_date(text: str) -> str:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidArgumentError(f"'{text}' is not a date: use the form 2027-12-31") from None
    return at.replace(tzinfo=at.tzinfo or UTC).isoformat()


def _places(device: Device) -> list[str]:
    return [f"{place['host']}:{place['dev']}" for place in device["location"]]


def _wear(device: Device) -> str:
    return f"{device['wear_level']:.0%}" if "wear_level" in device else ""


def _expectancy(device: Device) -> str:
    if EXPECTANCY[0] not in device:
        return ""
    earliest, latest = (str(device[key]).partition("T")[0] for key in EXPECTANCY[:2])
    return earliest if earliest == latest else f"{earliest} to {latest}"


def _listed(devices: Sequence[Device]) -> Reply:
    rows = [
        (
            device["devid"],
            " ".join(_places(device)),
            " ".join(device["daemons"]),
            _wear(device),
            _expectancy(device),
        )
        for device in devices
    ]
    headings = ("DEVICE", "HOST:DEV", "DAEMONS", "WEAR", "LIFE EXPECTANCY")
    return Reply(devices, plain=table(headings, rows))

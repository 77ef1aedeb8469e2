"""Makes the documents about daemons and devices, in Ceph's shapes, when a module reads them.

A fleet that reconnects after a failover changes ten thousand times in a few seconds. So a change
makes nothing on the loop. The next reader makes the document again, from cached parts for each
daemon; until the next change all readers share the same object.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from mgr.clock import timestamp
from mgr.cluster.daemon import Daemon
from mgr.cluster.fleet import Fleet
from mgr.cluster.frozen import FrozenDict, freeze
from mgr.cluster.stored_device import DEVICE_KEY_PREFIX, stored_device
from mgr.store.keys import Keys
from mgr.store.mirror import Mirror

SERVICE_MAP: Final = "service_map"
DEVICES: Final = "devices"
DEVICE: Final = "device "
METADATA: Final = "_metadata"
ALWAYS_THERE: Final = frozenset({"osd", "mds"})
"""Types that always have a metadata document, since Ceph's modules read it; others only while
a daemon of the type is in the fleet."""
FLEET_DOCUMENTS: Final = frozenset({SERVICE_MAP, DEVICES})
PARTS_MAX: Final = 100_000


@dataclass(frozen=True, slots=True)
class _Cached:
    """A document, and the state of its data when it was made."""

    state: tuple[object, ...]
    document: Any


class FleetDocuments:
    """Answers ``get`` for documents about the fleet. May be called from any thread."""

    def __init__(self, fleet: Fleet, mirror: Mirror, keys: Keys) -> None:
        """Read the daemons of ``fleet`` and the stored devices."""
        self._fleet = fleet
        self._mirror = mirror
        self._device_prefix = keys.entry(DEVICE_KEY_PREFIX)
        self._cache: dict[str, _Cached] = {}
        self._parts: dict[str, tuple[tuple[object, ...], FrozenDict]] = {}

    def get(self, name: str) -> Any:
        """Return the document, read only; None if it is not about the fleet."""
        if name == SERVICE_MAP:
            return self._current(name, self._state_of_services, self._service_map)
        if name == DEVICES:
            return FrozenDict({DEVICES: self._devices()[1]})
        if name.startswith(DEVICE):
            device = self._devices()[0].get(name.removeprefix(DEVICE))
            return FrozenDict() if device is None else FrozenDict({"device": device})
        if name.endswith(METADATA):
            return self._metadata(name.removesuffix(METADATA))
        return None

    # -- inside ---------------------------------------------------------------------------------

    def _current(
        self, name: str, state: Callable[[], tuple[object, ...]], make: Callable[[], Any]
    ) -> Any:
        # Read before the document is made: after a change meanwhile it is made again next time.
        now = state()
        cached = self._cache.get(name)
        if cached is None or cached.state != now:
            cached = self._cache[name] = _Cached(now, make())
        return cached.document

    def _daemons(self) -> list[Daemon]:
        # Copied in one step of the interpreter: the loop may add a daemon meanwhile.
        return sorted(self._fleet.daemons.values(), key=lambda daemon: daemon.name)

    # -- daemons --------------------------------------------------------------------------------

    def _state_of_services(self) -> tuple[object, ...]:
        fleet = self._fleet
        return fleet.generation, fleet.tasks_generation, fleet.absent

    def _service_map(self) -> FrozenDict:
        services: dict[str, dict[str, Any]] = {}
        for daemon in self._daemons():
            if daemon.name not in self._fleet.absent:
                daemons = services.setdefault(daemon.kind, {"summary": ""})
                daemons[daemon.id] = self._service(daemon)
        if len(self._parts) > PARTS_MAX:
            self._parts.clear()
        return FrozenDict(
            epoch=self._mirror.revision,
            modified=timestamp(),
            services=FrozenDict(
                {
                    kind: FrozenDict(daemons=FrozenDict(daemons))
                    for kind, daemons in services.items()
                }
            ),
        )

    def _service(self, daemon: Daemon) -> FrozenDict:
        member, tasks = daemon.record, daemon.task_status
        of = (member, tasks, daemon.incarnation)
        known = self._parts.get(daemon.name)
        # By identity: each is replaced as a whole when it changes, and comparing the contents
        # would cost more than making the part again.
        if known is None or any(a is not b for a, b in zip(known[0], of, strict=True)):
            number = zlib.crc32(daemon.incarnation.encode())
            part = freeze(
                {
                    "start_epoch": self._fleet.term,
                    "start_stamp": member.since,
                    "gid": number,
                    "addr": member.metadata.get("addr", member.host),
                    "metadata": {**member.metadata, "hostname": member.host},
                    "task_status": dict(tasks),
                }
            )
            known = self._parts[daemon.name] = of, part
        return known[1]

    def _metadata(self, kind: str) -> FrozenDict | None:
        found: FrozenDict = self._current(
            kind + METADATA,
            lambda: (self._fleet.generation,),
            partial(self._metadata_of, kind),
        )
        return found if found or kind in ALWAYS_THERE else None

    def _metadata_of(self, kind: str) -> FrozenDict:
        return FrozenDict(
            {
                daemon.id: self._service(daemon)["metadata"]
                for daemon in self._daemons()
                if daemon.kind == kind
            }
        )

    # -- devices --------------------------------------------------------------------------------

    def _devices(self) -> tuple[Mapping[str, Any], Any]:
        """Return every device by its id, and all of them as a list."""
        found: tuple[Mapping[str, Any], Any] = self._current(
            DEVICES, self._state_of_devices, self._make_devices
        )
        return found

    def _state_of_devices(self) -> tuple[object, ...]:
        fleet = self._fleet
        stored = self._mirror.list(self._device_prefix).values()
        revisions = tuple(record.mod_revision for record in stored)
        return fleet.generation, fleet.devices_generation, revisions

    def _make_devices(self) -> tuple[Mapping[str, Any], Any]:
        stored = dict(self._stored())
        devices: dict[str, dict[str, Any]] = {}
        for daemon in self._daemons():
            for device in daemon.devices:
                known = devices.setdefault(
                    device.id, {"devid": device.id, "location": [], "daemons": []}
                )
                place = {"host": daemon.record.host, "dev": device.name, "path": device.path}
                if place not in known["location"]:
                    known["location"].append(place)
                users = device.daemons or (daemon.name,)
                known["daemons"] += [each for each in users if each not in known["daemons"]]
                if device.wear_level is not None:
                    known["wear_level"] = device.wear_level
        for devid, stored_fields in stored.items():
            known = devices.setdefault(devid, {"devid": devid, "location": [], "daemons": []})
            # The values that a daemon reports are newer than the stored ones.
            devices[devid] = {**stored_fields, **known}
        by_id = {devid: freeze(devices[devid]) for devid in sorted(devices)}
        return by_id, freeze(list(by_id.values()))

    def _stored(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for key, record in self._mirror.list(self._device_prefix).items():
            if stored_fields := stored_device(record):
                yield key.removeprefix(self._device_prefix), stored_fields

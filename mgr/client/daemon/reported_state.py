"""State that a program reports beside its counters: status, tasks, health metrics, devices.

Each is sent again only after it changed, and all of it at the beginning of each stream.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, MutableMapping
from dataclasses import dataclass, replace
from typing import Any

from mgr.client.daemon.validation import bytes_of, check_bytes, check_text, metric_value
from mgr.errors import InvalidArgumentError
from mgr.report_limits import DEVICES_MAX, METRICS_MAX


class StatusTexts(MutableMapping[str, str]):
    """Short texts by name, safe for any thread. ``version`` grows with each change."""

    def __init__(self, what: str) -> None:
        """Begin without texts; ``what`` names them in errors."""
        self.version = 0
        self._what = what
        self._bytes = 0
        self._texts: dict[str, str] = {}
        self._lock = threading.RLock()

    def __getitem__(self, name: str) -> str:
        return self._texts[name]

    def __setitem__(self, name: str, text: object) -> None:
        """Set ``text``, converted by ``str``.

        Raises:
            InvalidArgumentError: A control character other than tabs and line ends, or more than
                16 KiB of names and texts. The text before stays.

        """
        name, shown = str(name), str(text)
        with self._lock:
            before = self._texts.get(name)
            if before != shown:
                count = self._bytes + bytes_of(self._what, name, shown)
                count -= 0 if before is None else bytes_of(self._what, name, before)
                check_bytes(self._what, count)
                self._texts[name], self._bytes = shown, count
                self.version += 1

    def __delitem__(self, name: str) -> None:
        with self._lock:
            self._bytes -= bytes_of(self._what, name, self._texts.pop(name))
            self.version += 1

    def __iter__(self) -> Iterator[str]:
        return iter(self.copy())

    def __len__(self) -> int:
        return len(self._texts)

    def copy(self) -> dict[str, str]:
        """Return the texts as a plain dict."""
        with self._lock:
            return dict(self._texts)


@dataclass(frozen=True, slots=True)
class HealthMetric:
    """A number that the manager's health checks add up over all daemons."""

    type: str
    value: int
    summary: str = ""


@dataclass(frozen=True, slots=True)
class Device:
    """A disk that the program uses.

    Attributes:
        id: Vendor, model and serial number: globally unique.
        name: Its name on the host: ``sda``.
        path: A path that does not change: ``/dev/disk/by-id/...``.
        wear_level: From 0 (new) to 1 (worn out); None if unknown.
        daemons: Daemons of this host that use it, as ``type.id``; if empty, the one that
            reports it.

    """

    id: str
    name: str = ""
    path: str = ""
    wear_level: float | None = None
    daemons: tuple[str, ...] = ()


class ReportedState:
    """The reported state of one program; any thread may change it at any time.

    Attributes:
        status: Status texts by name: ``state``, ``role``, ...
        task_status: Status texts of running tasks, by the task's name.
        metrics_version: Grows with each change of ``metrics``.
        devices_version: Grows with each change of ``devices``.

    """

    def __init__(self) -> None:
        self.status = StatusTexts("status")
        self.task_status = StatusTexts("task status")
        self.metrics_version = 0
        self.devices_version = 0
        self._metrics: dict[str, HealthMetric] = {}
        self._devices: tuple[Device, ...] = ()
        self._lock = threading.RLock()

    def set_metric(self, type: str, value: int, summary: str = "") -> None:  # noqa: A002 - its name on the wire
        """Raise the check ``type`` while ``value`` is above 0; 0 clears it.

        Raises:
            InvalidArgumentError: The type is not up to 63 capital letters, digits and ``_``, or
                begins with ``MGR_``; the value is negative or has more than 64 bits; the summary
                is not one line of at most 255 characters; there are 32 others.

        """
        metric = HealthMetric(type, metric_value(type, value), summary)
        check_text(f"health metric {type}: summary", summary)
        with self._lock:
            before = self._metrics.get(type)
            if before is None and metric.value and len(self._metrics) >= METRICS_MAX:
                raise InvalidArgumentError(
                    f"health metric {type}: {METRICS_MAX} others are raised, clear one first"
                )
            if metric.value:
                self._metrics[type] = metric
            else:
                self._metrics.pop(type, None)
            self.metrics_version += self._metrics.get(type) != before

    @property
    def metrics(self) -> tuple[HealthMetric, ...]:
        """All metrics above 0."""
        with self._lock:
            return tuple(self._metrics.values())

    @property
    def devices(self) -> tuple[Device, ...]:
        """The devices that the program uses."""
        return self._devices

    @devices.setter
    def devices(self, devices: Iterable[Device]) -> None:
        chosen = tuple(map(_normalized, devices))
        if len(chosen) > DEVICES_MAX:
            raise InvalidArgumentError(f"{len(chosen)} devices, report at most {DEVICES_MAX}")
        with self._lock:
            self.devices_version += chosen != self._devices
            self._devices = chosen


def _normalized(device: Device) -> Device:
    """Return ``device`` with the types that can be sent: a float and a tuple of strings.

    Raises:
        InvalidArgumentError: A field is invalid.

    """
    what = f"device {device.id!a}"
    daemons = _names(what, device.daemons)
    for word in (device.id, device.name, device.path, *daemons):
        check_text(what, word)
    if not device.id or len(daemons) > DEVICES_MAX:
        raise InvalidArgumentError(f"{what}: it needs an id, and at most {DEVICES_MAX} daemons")
    return replace(device, wear_level=_wear_level(what, device.wear_level), daemons=daemons)


def _names(what: str, names: Any) -> tuple[str, ...]:
    if isinstance(names, str):
        raise InvalidArgumentError(f"{what}: daemons must be a list of names, not one string")
    return tuple(names)


def _wear_level(what: str, level: Any) -> float | None:
    if level is None:
        return None
    try:
        number = float(level)
    except (TypeError, ValueError, OverflowError):
        number = -1.0
    if not 0 <= number <= 1:
        raise InvalidArgumentError(f"{what}: use a wear level from 0 to 1, not {level!a}")
    return number

"""How a program stands, beside its counters: status, tasks, health metrics, devices.

Each is said again only after it changed, and all of it to every manager that is new.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator, MutableMapping
from dataclasses import dataclass
from typing import Final

from mgr.errors import InvalidArgumentError

_METRIC: Final = re.compile(r"[A-Z][A-Z0-9_]{0,63}")


class Texts(MutableMapping[str, str]):
    """Short texts by name, for any thread. ``version`` grows with each change of what is said."""

    def __init__(self) -> None:
        self.version = 0
        self._texts: dict[str, str] = {}
        self._lock = threading.RLock()

    def __getitem__(self, name: str) -> str:
        return self._texts[name]

    def __setitem__(self, name: str, text: object) -> None:
        """Say ``text``, whatever it is, as ``str`` writes it."""
        name, shown = str(name), str(text)
        with self._lock:
            if self._texts.get(name) != shown:
                self._texts[name] = shown
                self.version += 1

    def __delitem__(self, name: str) -> None:
        with self._lock:
            del self._texts[name]
            self.version += 1

    def __iter__(self) -> Iterator[str]:
        return iter(self.copy())

    def __len__(self) -> int:
        return len(self._texts)

    def copy(self) -> dict[str, str]:
        """What is said now."""
        with self._lock:
            return dict(self._texts)


@dataclass(frozen=True, slots=True)
class HealthMetric:
    """A number that the manager's health adds up over all daemons."""

    type: str
    value: int
    summary: str = ""


@dataclass(frozen=True, slots=True)
class Device:
    """A disk that the program uses.

    Attributes:
        id: Vendor, model and serial number: unique in the world.
        name: Where the host has it: ``sda``.
        path: The way that does not change: ``/dev/disk/by-id/...``.
        wear_level: From 0, new, to 1, worn out; None where nobody knows.
        daemons: Those of this host that use it, as ``type.id``; empty: who reports it.

    """

    id: str
    name: str = ""
    path: str = ""
    wear_level: float | None = None
    daemons: tuple[str, ...] = ()


class Standing:
    """What a program says of itself; any thread may change it at any time.

    Attributes:
        status: A word for each thing worth knowing: ``state``, ``role``, ...
        task_status: The same for what it is busy with.
        metrics_version: Grows with each change of ``metrics``.
        devices_version: Grows with each change of ``devices``.

    """

    def __init__(self) -> None:
        self.status = Texts()
        self.task_status = Texts()
        self.metrics_version = 0
        self.devices_version = 0
        self._metrics: dict[str, HealthMetric] = {}
        self._devices: tuple[Device, ...] = ()
        self._lock = threading.RLock()

    def set_metric(self, type: str, value: int, summary: str = "") -> None:  # noqa: A002 - its name on the wire
        """Raise the check ``type`` while ``value`` is above 0; 0 takes it back.

        Raises:
            InvalidArgumentError: The type is not capital letters, digits and ``_``, or the value
                is negative.

        """
        if not _METRIC.fullmatch(type) or value < 0:
            raise InvalidArgumentError(
                f"health metric {type!r}: its type is capital letters, digits and '_', "
                f"its value at least 0, not {value}"
            )
        metric = HealthMetric(type, int(value), summary)
        with self._lock:
            before = self._metrics.get(type)
            if metric.value:
                self._metrics[type] = metric
            else:
                self._metrics.pop(type, None)
            self.metrics_version += self._metrics.get(type) != before

    @property
    def metrics(self) -> tuple[HealthMetric, ...]:
        """The metrics above 0."""
        with self._lock:
            return tuple(self._metrics.values())

    @property
    def devices(self) -> tuple[Device, ...]:
        """The devices it uses."""
        return self._devices

    @devices.setter
    def devices(self, devices: Iterable[Device]) -> None:
        with self._lock:
            chosen = tuple(devices)
            self.devices_version += chosen != self._devices
            self._devices = chosen

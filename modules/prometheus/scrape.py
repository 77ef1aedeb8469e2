"""Makes the text of a scrape, and caches it for an interval."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from .text import Families, family_text

LEFT_OUT: Final = "mgr_prometheus_left_out"
OWN_FAMILIES: Final = frozenset(
    {
        "mgr_health_status",
        "mgr_health_check",
        "mgr_map_version",
        "mgr_daemon_up",
        "mgr_daemon_info",
        LEFT_OUT,
    }
)
"""Metrics other than daemons' counters; no counter may be exported under these names."""
STATUSES: Final = {"HEALTH_OK": 0, "HEALTH_WARN": 1, "HEALTH_ERR": 2}

Labels = Mapping[str, str]


class ExportData(NamedTuple):
    """The data that one scrape exports."""

    health: Mapping[str, Any]
    daemons: Sequence[Mapping[str, Any]]
    metadata: Mapping[str, Labels]
    maps: Mapping[str, int]
    counters: Iterable[Mapping[str, Any]]


def render(source: ExportData) -> Iterator[bytes]:
    """Yield the whole text, family by family."""
    yield from _cluster(source)
    yield from _daemons(source)
    families = Families(reserved=OWN_FAMILIES)
    for entry in source.counters:
        families.add(entry)
    yield from families.texts()
    yield family_text(
        LEFT_OUT,
        "gauge",
        "Samples left out: their name is another counter's, or two of their labels get one name",
        [({}, families.left_out)],
    )


def _cluster(source: ExportData) -> Iterator[bytes]:
    health = json.loads(source.health["json"])
    yield family_text(
        "mgr_health_status",
        "gauge",
        "Health of the cluster: 0 ok, 1 warning, 2 error",
        [({}, STATUSES.get(health["status"], 2))],
    )
    yield family_text(
        "mgr_health_check",
        "gauge",
        "Checks that are raised, and how many things each is about",
        [
            (
                {
                    "code": code,
                    "severity": check["severity"].removeprefix("HEALTH_").lower(),
                    "muted": str(check["muted"]).lower(),
                },
                max(1, check["summary"]["count"]),
            )
            for code, check in health["checks"].items()
        ],
    )
    yield family_text(
        "mgr_map_version",
        "gauge",
        "Version of each published map",
        [({"map": name}, version) for name, version in source.maps.items()],
    )


def _daemons(source: ExportData) -> Iterator[bytes]:
    yield family_text(
        "mgr_daemon_up",
        "gauge",
        "Whether the daemon reports: 1; 0 if it is silent, or awaited after a failover",
        [
            (
                {"daemon": each["name"], "type": each["type"], "hostname": each["hostname"]},
                each["state"] == "reporting",
            )
            for each in source.daemons
        ],
    )
    yield family_text(
        "mgr_daemon_info",
        "gauge",
        "What the daemon is: always 1",
        [
            (
                {
                    "daemon": each["name"],
                    "type": each["type"],
                    "hostname": each["hostname"],
                    "version": each["version"],
                    **source.metadata.get(each["name"], {}),
                },
                1,
            )
            for each in source.daemons
        ],
    )


class Stale(Exception):  # noqa: N818 - no failure: the next text is being made
    """The cached text is too old, and another request is making the next one."""


class ScrapeCache:
    """Caches the last text. The first request after the interval makes a new one. Thread-safe."""

    def __init__(self, collect: Callable[[], list[bytes]]) -> None:
        """Make texts with ``collect``."""
        self._collect = collect
        self._collect_lock = threading.Lock()
        self._cached: tuple[datetime, list[bytes]] | None = None

    def read(self, interval_s: float, *, allow_stale: bool) -> list[bytes]:
        """Return the text, at most ``interval_s`` old; with 0 it is made for this request.

        While another request makes the next text, the last one is returned if ``allow_stale`` is
        set. If there is no text yet, this waits for the first one.

        Raises:
            Stale: The next text is being made, and ``allow_stale`` is not set.

        """
        cached = self._cached
        if cached and 0 <= _age_s(cached[0]) < interval_s:
            return cached[1]
        if not self._collect_lock.acquire(blocking=cached is None or not interval_s):
            if cached and allow_stale:
                return cached[1]
            raise Stale
        try:
            cached = self._cached
            if not cached or not 0 <= _age_s(cached[0]) < interval_s:
                cached = self._cached = datetime.now(UTC), self._collect()
            return cached[1]
        finally:
            self._collect_lock.release()


def _age_s(at: datetime) -> float:
    return (datetime.now(UTC) - at).total_seconds()

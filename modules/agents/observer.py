"""What the hosts' agents report: read from the fleet and from answers to orders."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from .reconciler import Daemon, Host, HostState, states
from .records import HostRecord, Refusal

KIND: Final = "host"
"""The type of the agents' own daemons."""
STATUS: Final = "deployed"
"""The status text in which an agent reports what is deployed to its host."""
REPORTING: Final = "reporting"


@dataclass(frozen=True, slots=True)
class Report:
    """One report of an agent; of two the one with the greater version is newer."""

    version: tuple[int, int]
    term: int
    kinds: frozenset[str]
    daemons: Mapping[str, Daemon]
    restarts: Mapping[str, int]


@dataclass(slots=True)
class _Known:
    text: str = ""
    report: Report | None = None
    silent_since_s: float | None = None
    refused: dict[str, Refusal] = field(default_factory=dict)


class Observer:
    """The state of all hosts, as far as it is known in this term.

    Attributes:
        generation: Grows with everything that is new, but for the passing of time.

    """

    def __init__(self, status: Callable[[str], Mapping[str, str] | None]) -> None:
        """Read the status texts of a host's agent with ``status``."""
        self._status = status
        self._known: dict[str, _Known] = {}
        self.generation = 0

    def read(self, fleet: Iterable[Mapping[str, Any]], now_s: float) -> None:
        """Take what ``fleet`` lists: the daemons as ``get_daemons`` returns them."""
        reporting = {
            each["id"] for each in fleet if each["type"] == KIND and each["state"] == REPORTING
        }
        for name in reporting:
            known = self._known.setdefault(name, _Known())
            text = (self._status(name) or {}).get(STATUS, "")
            if text and text != known.text:
                known.text = text
                self._take(known, json.loads(text))
            # An agent that has just joined has not told yet what is deployed.
            self._hear(known, now_s, heard=bool(text))
        for name, known in self._known.items():
            if name not in reporting:
                self._hear(known, now_s, heard=False)

    def answered(self, host: str, state: Any) -> None:
        """Take the state in an agent's answer, which is newer than its last report."""
        self._take(self._known.setdefault(host, _Known()), state)

    def refused(self, host: str, daemon: str, refusal: Refusal) -> None:
        """Note that a host will not run a revision of a daemon."""
        self.generation += 1
        self._known.setdefault(host, _Known()).refused[daemon] = refusal

    def forget(self, service: str) -> None:
        """Forget what hosts refused of a service: it is wanted no longer."""
        for known in self._known.values():
            for daemon in [name for name in known.refused if name.split(".", 1)[0] == service]:
                del known.refused[daemon]
                self.generation += 1

    def able(self) -> list[str]:
        """Return the hosts whose agents report what is deployed, by name."""
        return sorted(
            name
            for name, known in self._known.items()
            if known.report is not None and known.silent_since_s is None
        )

    def report(self, host: str) -> Report | None:
        """Return the newest report of a host, None if there is none in this term."""
        known = self._known.get(host)
        return None if known is None else known.report

    def hosts(
        self,
        records: Mapping[str, HostRecord],
        now_s: float,
        *,
        grace_s: float,
        filling: bool,
        lost_max: float,
    ) -> list[Host]:
        """Return the hosts of ``records`` as the reconciler takes them."""
        for name in records:
            known = self._known.setdefault(name, _Known())
            if known.report is None and known.silent_since_s is None:
                known.silent_since_s = now_s
        wanted = {name: record for name, record in records.items() if not record.excluded}
        # A host that has never taken orders is not lost, and says nothing about the network.
        silent_s = {name: self._silent_s(name, now_s) for name in wanted if wanted[name].joined}
        found = states(silent_s, grace_s=grace_s, filling=filling, lost_max=lost_max)
        late = {name for name, seconds in silent_s.items() if seconds > grace_s and not filling}
        return [
            self._host(
                name, record, found.get(name, HostState.UNKNOWN), now_s=now_s, late=name in late
            )
            for name, record in wanted.items()
        ]

    def _host(
        self, name: str, record: HostRecord, state: HostState, *, now_s: float, late: bool
    ) -> Host:
        known = self._known[name]
        report = known.report
        daemons = dict(report.daemons) if report is not None else {}
        for daemon, refusal in list(known.refused.items()):
            if now_s >= refusal.until_s:
                del known.refused[daemon]
                self.generation += 1
            elif (there := daemons.get(daemon)) is None:
                daemons[daemon] = refusal.as_daemon(daemon.split(".", 1)[0])
            elif there.revision != refusal.revision:
                # It goes on in the revision before; the update has failed all the same.
                daemons[daemon] = refusal.as_daemon(there.service)
        return Host(
            name=name,
            state=state,
            labels=frozenset(record.labels),
            kinds=report.kinds if report is not None else frozenset(),
            draining=record.draining,
            late=late,
            daemons=daemons,
        )

    def _silent_s(self, name: str, now_s: float) -> float:
        since_s = self._known[name].silent_since_s
        return 0.0 if since_s is None else max(now_s - since_s, 1e-6)

    @staticmethod
    def _hear(known: _Known, now_s: float, *, heard: bool) -> None:
        if heard:
            known.silent_since_s = None
        elif known.silent_since_s is None:
            known.silent_since_s = now_s

    def _take(self, known: _Known, state: Any) -> None:
        report = _report(state)
        if known.report is None or report.version > known.report.version:
            known.report = report
            self.generation += 1


def _report(state: Any) -> Report:
    daemons, restarts = {}, {}
    for name, (service, revision, word, count, detail) in state["daemons"].items():
        daemons[name] = Daemon(service, revision, word, detail)
        restarts[name] = count
    first, second = state["version"]
    return Report((first, second), state["term"], frozenset(state["kinds"]), daemons, restarts)

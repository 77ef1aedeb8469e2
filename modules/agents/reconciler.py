"""The reconciler: a pure function from what is wanted and what is to the next steps.

Rule 1: everything that decides where a daemon runs, and when it is started, replaced or removed,
stands in this file.
Rule 2: this file does no I/O, reads no clock and keeps no state. The same input gives the same
plan, whatever order it comes in; a plan that was carried out leads to a plan without steps.

Theory of operation
-------------------
A service is wanted on *slots*: a host and a number. Slots are stored before the first order leaves
and change only for a reason (a host was lost, drained or relabelled, the count changed), so that a
new active manager finds them. A daemon is called ``<service>.<host>-<number>``: one slot, one name.

For each slot the wanted revision is compared with the one that its host reports. A missing daemon
is started at once. One of another revision is replaced only while enough others are ready
(``max_unavailable``), and not at all once a daemon of the wanted revision has failed: the caller
then returns to the revision before. A daemon that is no longer wanted is removed only when its
replacement is ready, which makes draining a host and moving a daemon the same thing.

Nothing is concluded from a host that does not report: it is *unknown* until its grace has passed,
keeps its slots and gets no steps.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from fnmatch import fnmatchcase
from heapq import nsmallest
from typing import Final

from .steps import Action, Plan, Slot, Step

READY: Final = "ready"
FAILED: Final = "failed"
STOPPED: Final = "stopped"
SLOTS_MAX: Final = 5000
"""Daemons of one service: its record has to fit into one transaction of the store."""


class HostState(Enum):
    """What is known of a host."""

    READY = "ready"
    """Its agent reports and takes orders."""
    UNKNOWN = "unknown"
    """Its agent does not report, for less than the grace, or the fleet is still coming back."""
    LOST = "lost"
    """Its agent has not reported for longer than the grace."""


@dataclass(frozen=True, slots=True)
class Daemon:
    """A daemon as its host reports it; ``state`` is one of the agent's words."""

    service: str
    revision: str
    state: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A host as the orchestrator knows it.

    Attributes:
        kinds: The kinds of daemons that its agent's settings allow.
        draining: No daemon is to be placed there, and all are to leave.
        late: It has been silent for longer than the grace, whether it is lost or not.
        daemons: What its agent reports, by name.

    """

    name: str
    state: HostState = HostState.READY
    labels: frozenset[str] = frozenset()
    kinds: frozenset[str] = frozenset()
    draining: bool = False
    late: bool = False
    daemons: Mapping[str, Daemon] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where the daemons of a service may run.

    Attributes:
        hosts: Only these; empty: any.
        labels: Only hosts with all of these labels.
        pattern: Only hosts whose name fits, with ``*`` as in file names; empty: any.
        count: How many daemons in total; None: on every host that fits.
        per_host: Daemons on one host: at most so many with ``count``, exactly so many without.

    """

    hosts: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    pattern: str = ""
    count: int | None = None
    per_host: int = 1

    def fits(self, host: Host) -> bool:
        """Return whether ``host`` is one of those meant."""
        return (
            (not self.hosts or host.name in self.hosts)
            and host.labels.issuperset(self.labels)
            and (not self.pattern or fnmatchcase(host.name, self.pattern))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What is wanted of one service.

    Attributes:
        revision: Of the specification that is wanted.
        revisions: Other revisions of single daemons: those that were restarted.
        slots: Where its daemons are, as stored.
        stopped: Daemons that an operator stopped.
        held: No daemon is replaced by one of another revision.
        removed: All of its daemons are to go.
        ports: What each of its daemons listens on: nobody else on its host can have them.

    """

    name: str
    kind: str
    placement: Placement
    revision: str
    revisions: Mapping[str, str] = field(default_factory=dict)
    slots: tuple[Slot, ...] = ()
    stopped: frozenset[str] = frozenset()
    max_unavailable: int = 1
    held: bool = False
    removed: bool = False
    ports: frozenset[int] = frozenset()

    def wanted(self, daemon: str) -> str:
        """Return the revision that ``daemon`` is to have."""
        return self.revisions.get(daemon, self.revision)


def plan(services: Iterable[Service], hosts: Iterable[Host]) -> dict[str, Plan]:
    """Return the plan of each service by name."""
    fleet = _Fleet({host.name: host for host in hosts})
    ordered = sorted(services, key=lambda service: service.name)
    for service in ordered:
        fleet.count(service.slots)
        fleet.hold_ports(service, service.slots)
    return {service.name: _plan(service, fleet) for service in ordered}


def strays(services: Iterable[Service], hosts: Iterable[Host]) -> dict[str, list[str]]:
    """Return the daemons of services that nobody knows, by host."""
    known = {service.name for service in services}
    found: dict[str, list[str]] = {}
    for host in hosts:
        if alien := sorted(n for n, each in host.daemons.items() if each.service not in known):
            found[host.name] = alien
    return dict(sorted(found.items()))


def states(
    silent_s: Mapping[str, float], *, grace_s: float, filling: bool, lost_max: float
) -> dict[str, HostState]:
    """Return the state of each host by the seconds for which its agent has been silent, 0 if none.

    While the fleet is still coming back after a failover (``filling``) nobody is lost. Neither if
    more than the share ``lost_max`` of all hosts would be: then the network is at fault, or this
    manager, and moving their daemons to the few others would only do harm.
    """
    late = {name for name, seconds in silent_s.items() if seconds > grace_s}
    if filling or len(late) > lost_max * len(silent_s):
        late = set()
    return {
        name: HostState.LOST if name in late else HostState.UNKNOWN if seconds else HostState.READY
        for name, seconds in silent_s.items()
    }


class _Fleet:
    """The hosts, indexed for the questions below."""

    def __init__(self, hosts: dict[str, Host]) -> None:
        self.hosts = hosts
        self.load = dict.fromkeys(hosts, 0)
        self.of_service: dict[str, dict[str, tuple[Host, Daemon]]] = {}
        for name in sorted(hosts):
            host = hosts[name]
            if host.state is not HostState.READY:
                continue
            for daemon, each in host.daemons.items():
                self.of_service.setdefault(each.service, {})[daemon] = host, each
        self._fitting: dict[tuple[Placement, str], tuple[Host, ...]] = {}
        self._ports: dict[int, dict[str, set[str]]] = {}

    def count(self, slots: Iterable[Slot], by: int = 1) -> None:
        """Count the daemons of each host."""
        for slot in slots:
            if slot.host in self.load:
                self.load[slot.host] += by

    def hold_ports(self, service: Service, slots: Iterable[Slot]) -> None:
        """Note who has the service's ports: those in ``slots``, and those that run."""
        if service.ports:
            present = self.of_service.get(service.name, {}).values()
            held = {slot.host for slot in slots}.union(host.name for host, _ in present)
            for port in service.ports:
                owners = self._ports.setdefault(port, {})
                for host in held:
                    owners.setdefault(host, set()).add(service.name)

    def ports_taken(self, service: Service) -> set[str]:
        """Return the hosts on which another service has a port of ``service``."""
        return {
            host
            for port in service.ports
            for host, owners in self._ports.get(port, {}).items()
            if owners != {service.name}
        }

    def fitting(self, service: Service) -> tuple[Host, ...]:
        """Return the hosts on which daemons of ``service`` may be, by name.

        An unknown host counts: it may keep what it has.
        """
        key = service.placement, service.kind
        if key not in self._fitting:
            self._fitting[key] = tuple(
                host
                for _, host in sorted(self.hosts.items())
                if host.state is not HostState.LOST
                and not host.draining
                and (host.state is HostState.UNKNOWN or service.kind in host.kinds)
                and service.placement.fits(host)
            )
        return self._fitting[key]


def _plan(service: Service, fleet: _Fleet) -> Plan:
    taken = set() if service.removed else _taken(service, fleet)
    slots, unplaced = ((), 0) if service.removed else _limited(service, fleet, taken)
    fleet.count(service.slots, -1)
    fleet.count(slots)
    fleet.hold_ports(service, slots)
    present = fleet.of_service.get(service.name, {})
    work = _Work(service, slots, unplaced, present, fleet.hosts)
    steps = (*work.missing(), *work.outdated(), *work.surplus())
    ready = work.ready_and_current()
    # A removed service keeps its slots on hosts that do not report: these get the order later.
    waiting = tuple(
        slot
        for slot in service.slots
        if service.removed
        and slot.host in fleet.hosts
        and fleet.hosts[slot.host].state is not HostState.READY
    )
    surplus = present.keys() - work.names
    nowhere = bool(unplaced) and not slots
    done = not (steps or surplus or waiting or nowhere) and ready == len(slots)
    return Plan(
        slots=waiting if service.removed else slots,
        steps=tuple(steps),
        unplaced=unplaced,
        failed=work.failed(),
        ready=ready,
        done=done,
        unknown=tuple(sorted({name for name in service.placement.hosts if name not in fleet.hosts}))
        if not service.removed
        else (),
        nowhere=not service.removed and service.placement.count is None and not slots,
        taken=tuple(sorted(taken)) if unplaced or service.placement.count is None else (),
    )


# -- where ------------------------------------------------------------------------------------


def _taken(service: Service, fleet: _Fleet) -> set[str]:
    """Return the hosts on which another service has its ports, but for those where it is."""
    if not (taken := fleet.ports_taken(service)):
        return taken
    fitting = {host.name for host in fleet.fitting(service)}
    return taken & fitting - {slot.host for slot in service.slots}


def _limited(
    service: Service, fleet: _Fleet, taken: Container[str]
) -> tuple[tuple[Slot, ...], int]:
    """Return slots as ``_place`` does, at most ``SLOTS_MAX``: those that were there first."""
    slots, unplaced = _place(service, fleet, taken)
    if len(slots) <= SLOTS_MAX:
        return slots, unplaced
    before = set(service.slots)
    chosen = sorted(slots, key=lambda slot: (slot not in before, slot))[:SLOTS_MAX]
    return tuple(sorted(chosen)), unplaced + len(slots) - SLOTS_MAX


def _place(service: Service, fleet: _Fleet, taken: Container[str]) -> tuple[tuple[Slot, ...], int]:
    """Return the slots, and the number of daemons for which there is none."""
    placement = service.placement
    fitting = {host.name: host for host in fleet.fitting(service) if host.name not in taken}
    kept = [
        slot
        for slot in sorted(set(service.slots))
        if slot.host in fitting and slot.number < placement.per_host
    ]
    if placement.count is None:
        every = {
            Slot(name, index)
            for name, host in fitting.items()
            if host.state is HostState.READY
            for index in range(placement.per_host)
        }
        return tuple(sorted(every.union(kept))), 0
    surplus = len(kept) - placement.count
    if surplus > 0:
        for _ in range(surplus):
            kept.remove(max(kept, key=lambda slot: _burden(slot, kept, fleet)))
        return tuple(kept), 0
    added = _add(-surplus, kept, fitting, placement.per_host, fleet)
    return tuple(sorted([*kept, *added])), -surplus - len(added)


def _burden(slot: Slot, kept: Sequence[Slot], fleet: _Fleet) -> tuple[int, int, str, int]:
    """Order slots by how gladly they are given up: from crowded and busy hosts first."""
    own = sum(each.host == slot.host for each in kept)
    return own, fleet.load.get(slot.host, 0), slot.host, slot.number


def _add(
    missing: int, kept: Sequence[Slot], fitting: Mapping[str, Host], per_host: int, fleet: _Fleet
) -> list[Slot]:
    """Return up to ``missing`` new slots, on the hosts with the fewest daemons."""
    if not missing:
        return []
    taken: dict[str, set[int]] = {}
    for slot in kept:
        taken.setdefault(slot.host, set()).add(slot.number)
    free = (
        (len(taken.get(name, ())) + turn, fleet.load[name] + turn, name, index)
        for name, host in fitting.items()
        if host.state is HostState.READY
        for turn, index in enumerate(sorted(set(range(per_host)) - taken.get(name, set())))
    )
    return [Slot(name, index) for _, _, name, index in nsmallest(missing, free)]


# -- what to do -------------------------------------------------------------------------------


class _Work:
    """The steps for one service whose slots are decided."""

    def __init__(
        self,
        service: Service,
        slots: Sequence[Slot],
        unplaced: int,
        present: Mapping[str, tuple[Host, Daemon]],
        hosts: Mapping[str, Host],
    ) -> None:
        self._service = service
        self._present = present
        self._hosts = hosts
        self._unplaced = unplaced
        self.names = {slot.daemon(service.name): slot for slot in slots}
        counted = [name for name in self.names if name not in service.stopped]
        self._unavailable = sum(not self._is(READY, name) for name in counted)
        self._counted = len(counted)
        self._interrupted = 0

    def ready_and_current(self) -> int:
        """Return how many daemons are as they should be; a stopped one should be stopped."""
        return sum(
            name not in self._present or self._is(STOPPED, name)
            if name in self._service.stopped
            else self._is(READY, name) and self._current(name)
            for name in self.names
        )

    def failed(self) -> dict[str, str]:
        """Return the daemons of the wanted revision that failed."""
        return {
            name: self._present[name][1].detail
            for name in sorted(self.names)
            if self._is(FAILED, name) and self._current(name)
        }

    def missing(self) -> list[Step]:
        """Return the steps that bring wanted daemons to life, or to rest."""
        steps = []
        for name, slot in sorted(self.names.items()):
            if self._hosts[slot.host].state is not HostState.READY:
                continue
            stopped = name in self._service.stopped
            if name in self._present:
                if stopped and not self._is(STOPPED, name):
                    steps.append(self._step(Action.STOP, slot.host, name))
                elif not stopped and self._is(STOPPED, name):
                    steps.append(self._deploy(slot.host, name))
            elif not stopped:
                steps.append(self._deploy(slot.host, name))
        return steps

    def outdated(self) -> list[Step]:
        """Return the steps of a rolling update: as many as ``max_unavailable`` allows now."""
        if self._service.held or self.failed():
            return []
        old = [
            name
            for name in sorted(self.names)
            if name in self._present
            and name not in self._service.stopped
            and not self._is(STOPPED, name)
            and not self._current(name)
        ]
        # Those under way count as well: a version that does not become ready must not spread.
        under_way = sum(
            self._current(name) and not self._is(READY, name)
            for name in self.names
            if name in self._present and name not in self._service.stopped
        )
        room = self._service.max_unavailable - under_way
        may_interrupt = self._service.max_unavailable - self._unavailable
        steps: list[Step] = []
        for name in sorted(old, key=lambda name: (self._is(READY, name), name)):
            if len(steps) >= room:
                break
            if self._is(READY, name):
                if may_interrupt <= 0:
                    break
                may_interrupt -= 1
                self._interrupted += 1
            steps.append(self._deploy(self.names[name].host, name))
        return steps

    def surplus(self) -> list[Step]:
        """Return the removals: of what is not ready at once, of others once they are replaced."""
        extra = sorted(self._present.keys() - self.names.keys())
        available = self._counted - self._unavailable - self._interrupted
        available += sum(self._is(READY, name) for name in extra)
        floor = self._counted + self._unplaced - self._service.max_unavailable
        steps = []
        for name in extra:
            if self._is(READY, name) and not self._service.removed:
                if available - 1 < floor:
                    continue
                available -= 1
            steps.append(self._step(Action.REMOVE, self._present[name][0].name, name))
        return steps

    def _is(self, state: str, name: str) -> bool:
        found = self._present.get(name)
        return found is not None and found[1].state == state

    def _current(self, name: str) -> bool:
        found = self._present.get(name)
        return found is not None and found[1].revision == self._service.wanted(name)

    def _deploy(self, host: str, name: str) -> Step:
        return self._step(Action.DEPLOY, host, name, self._service.wanted(name))

    def _step(self, action: Action, host: str, name: str, revision: str = "") -> Step:
        return Step(action, host, self._service.name, name, revision)

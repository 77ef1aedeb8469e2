"""What is stored of services and hosts, and how it changes. Pure: no I/O, no clock."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from .reconciler import FAILED, Daemon, Service
from .specification import Specification
from .steps import Plan, Slot

Phase = Literal["updating", "stable", "failed", "rolled_back"]
SERVICE: Final = "service/"
HOST: Final = "host/"
SECRET: Final = "secret/"  # noqa: S105 - the beginning of a key
PAUSED: Final = "paused"


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """A specification and its number, which grows with each one of its service.

    Attributes:
        same_since: The generation since which daemons run the same; 0: this one.

    """

    generation: int
    spec: Specification
    same_since: int = 0

    @property
    def revision(self) -> int:
        """The generation that its daemons report: one that was only placed again goes on."""
        return self.same_since or self.generation


class ServiceRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One service.

    Attributes:
        current: What was applied last.
        good: The last version of which every daemon was ready; None if none was.
        phase: ``updating`` to ``current``; ``stable``: arrived; ``failed``: stopped on the way;
            ``rolled_back``: failed, and ``good`` is wanted again.
        reason: Why it failed.
        slots: Where its daemons are.
        restarts: How often single daemons were restarted in this generation.
        stopped: Daemons that an operator stopped.
        held: An operator paused the update.
        removed: The service is being removed.

    """

    current: Version
    good: Version | None = None
    phase: Phase = "updating"
    reason: str = ""
    slots: tuple[Slot, ...] = ()
    restarts: dict[str, int] = {}
    stopped: tuple[str, ...] = ()
    held: bool = False
    removed: bool = False

    @property
    def name(self) -> str:
        """The service's name."""
        return self.current.spec.service

    @property
    def target(self) -> Version:
        """The version that is wanted now."""
        if self.phase == "rolled_back" and self.good is not None:
            return self.good
        return self.current

    def wanted(self) -> Service:
        """Return it as the reconciler takes it."""
        revision, spec = self.target.revision, self.target.spec
        return Service(
            name=self.name,
            kind=spec.kind,
            placement=spec.placement.placement(),
            revision=str(revision),
            revisions={name: f"{revision}.{n}" for name, n in self.restarts.items()},
            slots=self.slots,
            stopped=frozenset(self.stopped),
            max_unavailable=spec.max_unavailable,
            held=self.held,
            removed=self.removed,
            ports=frozenset(spec.ports),
        )

    def applied(self, spec: Specification) -> ServiceRecord:
        """Return it after ``spec`` was applied; itself if nothing changes."""
        if spec == self.target.spec and not self.removed and self.phase != "rolled_back":
            return self
        same = spec.runs_as(self.target.spec)
        version = Version(
            generation=self.current.generation + 1,
            spec=spec,
            same_since=self.target.revision if same else 0,
        )
        restarts = self.restarts if same else {}
        return _changed(
            self, current=version, phase="updating", reason="", restarts=restarts, removed=False
        )

    def renewed(self) -> ServiceRecord:
        """Return it in a new generation of the same specification: a secret has changed."""
        version = Version(generation=self.current.generation + 1, spec=self.target.spec)
        return _changed(self, current=version, phase="updating", reason="", restarts={})

    def restarted(self, daemons: Iterable[str]) -> ServiceRecord:
        """Return it with these daemons to be started again."""
        more = {name: self.restarts.get(name, 0) + 1 for name in daemons}
        stopped = tuple(name for name in self.stopped if name not in more)
        return _changed(self, restarts={**self.restarts, **more}, stopped=stopped)

    def stopping(self, daemons: Iterable[str], *, stop: bool) -> ServiceRecord:
        """Return it with these daemons stopped, or not stopped."""
        chosen = set(daemons)
        stopped = {*self.stopped, *chosen} if stop else set(self.stopped) - chosen
        return _changed(self, stopped=tuple(sorted(stopped)))

    def without(self, slots: Iterable[Slot]) -> ServiceRecord:
        """Return it without these slots: the daemons are placed again."""
        gone = set(slots)
        return _changed(self, slots=tuple(slot for slot in self.slots if slot not in gone))

    def removing(self) -> ServiceRecord:
        """Return it on its way out."""
        return _changed(self, removed=True, held=False)

    def holding(self, *, held: bool) -> ServiceRecord:
        """Return it with its update paused, or going on."""
        return _changed(self, held=held)

    def backing_out(self, reason: str) -> ServiceRecord:
        """Return it on its way back to the last good version; stopped where it is without one."""
        phase = "rolled_back" if self.good is not None else "failed"
        return _changed(self, phase=phase, reason=reason, restarts={}, held=False)

    def after(self, plan: Plan) -> ServiceRecord:
        """Return it after ``plan`` was made: with its slots, and arrived or failed if it is."""
        kept = {slot.daemon(self.name) for slot in plan.slots}
        found = _changed(
            self,
            slots=plan.slots,
            restarts={name: n for name, n in self.restarts.items() if name in kept},
            stopped=tuple(name for name in self.stopped if name in kept),
        )
        if found.removed or found.phase == "rolled_back":
            return found
        if plan.failed and found.phase == "updating":
            name, why = next(iter(plan.failed.items()))
            if found.good is not None and found.current.spec.rollback:
                return found.backing_out(f"{name}: {why}")
            return _changed(found, phase="failed", reason=f"{name}: {why}")
        if plan.done:
            return _changed(found, phase="stable", reason="", good=found.current)
        if found.phase == "failed" and not plan.failed:
            return _changed(found, phase="updating", reason="")
        return found


class HostRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One host.

    Attributes:
        address: As an operator gave it; for people.
        draining: No daemon is to stay there.
        excluded: An operator removed it: it does not join again by itself.
        joined: Its agent has reported that it takes orders, now or earlier.

    """

    address: str = ""
    labels: tuple[str, ...] = ()
    draining: bool = False
    excluded: bool = False
    joined: bool = True


class SecretRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One secret."""

    value: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """A host's answer that it will not run something."""

    revision: str
    reason: str
    until_s: float

    def as_daemon(self, service: str) -> Daemon:
        """Return it as the reconciler sees it: the daemon of this revision has failed."""
        return Daemon(service, self.revision, FAILED, self.reason)


def _changed(record: ServiceRecord, **fields: object) -> ServiceRecord:
    found = msgspec.structs.replace(record, **fields)
    return record if found == record else found

"""The state that the guard's components share: phase, leadership, requests of operators."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from mgr.clock import Clock
from mgr.election.heartbeat import PROFILES, AdaptiveHeartbeat, HeartbeatProfile
from mgr.election.leader_key import LeaderKey
from mgr.election.machine import CONFIRMABLE, LEADING, Event, Phase
from mgr.errors import InvalidSettingError, NameTakenError
from mgr.guard.identity import ProcessIdentity
from mgr.guard.store_trouble import StoreTrouble
from mgr.guard.worker_health import StoreContact
from mgr.settings import Settings
from mgr.store.api import Revision, Store
from mgr.store.keys import Keys

OnEvent = Callable[[Event], None]
"""Raises an event of the state machine. The phase may have changed when it returns."""


@dataclass(frozen=True, slots=True)
class GuardContext:
    """The dependencies of the guard's components, constant while it runs."""

    settings: Settings
    store: Store
    clock: Clock
    me: ProcessIdentity

    @property
    def name(self) -> str:
        """The name of this manager."""
        return self.settings.id

    @property
    def heartbeat_profile(self) -> HeartbeatProfile | None:
        """The configured leader heartbeat; None if there is none."""
        return PROFILES[self.settings.profile]

    @property
    def keys(self) -> Keys:
        """The names of the cluster's keys in the store."""
        return Keys(self.settings.cluster)


@dataclass(slots=True)
class Leadership:
    """One term of this manager. Times are seconds on the clock.

    Attributes:
        deadline_s: Until when the worker may act, as far as the term is confirmed.
        acquired_s: When the leader key was acquired; the predecessor's key was gone before.
        heartbeat: Its heartbeat; None if the lease alone confirms the term.
        since: When it was acquired, wall time in ISO 8601, for people.
        gap_s: How long there was no leader key before, as this manager saw it; None if unknown.
        effects_from_s: Until when earlier terms may act outside the store. None while the term
            record is not open: then the worker is not promoted either.

    """

    key: LeaderKey
    deadline_s: float
    acquired_s: float
    heartbeat: AdaptiveHeartbeat | None
    since: str = ""
    gap_s: float | None = None
    effects_from_s: float | None = None
    shared: bool = False
    """Another process acts in this very term: its term record must not say that it is over."""

    @property
    def term(self) -> Revision:
        """The number of the term: the create revision of the leader key."""
        return self.key.term


@dataclass(slots=True)
class OperatorRequests:
    """Requests of operators to hand over or to stop."""

    successor: str = ""
    """The manager that should lead next; empty: any."""
    reason: str = ""
    """Why a hand-over or stop was requested, for the log and the term record."""
    asked_by: str = ""
    """The client or signal that requested it; empty if the manager itself did."""
    stopping: bool = False
    stop_now: bool = False


@dataclass(slots=True)
class State:
    """The mutable state of a guard. ``phase`` is changed by ``Guard._on_event`` only."""

    trouble: StoreTrouble
    """Why etcd cannot be used, if it cannot."""
    phase: Phase = Phase.JOINING
    last_leadership: Leadership | None = None
    """The leadership last acquired, until it is certainly released."""
    released_s: float = float("-inf")
    """When this manager last released leadership."""
    requests: OperatorRequests = field(default_factory=OperatorRequests)
    contact: StoreContact = field(default_factory=StoreContact)
    """How long the store has answered this guard without a gap."""
    phase_entered_s: float = float("-inf")
    """When the phase was entered."""
    unable: bool = False
    """The last term ended because its worker did not reach the store or did not start in time."""
    overdue: bool = False
    """A module did not stop in time, or the drain took too long, in this term."""
    failure: NameTakenError | InvalidSettingError | None = None
    """Why this manager cannot join the cluster."""

    @property
    def leadership(self) -> Leadership | None:
        """The leadership held; None in a phase without leadership."""
        return self.last_leadership if self.phase in LEADING else None

    @property
    def confirmable(self) -> Leadership | None:
        """The leadership to be confirmed periodically; None in a phase without one."""
        return self.last_leadership if self.phase in CONFIRMABLE else None

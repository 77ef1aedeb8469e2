"""What the guard's parts share: the phase, the office held, what operators want."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from mgr.clock import Clock
from mgr.election.heartbeat import PROFILES, AdaptiveHeartbeat, HeartbeatProfile
from mgr.election.leader_key import LeaderKey
from mgr.election.machine import CONFIRMABLE, LEADING, Event, Phase
from mgr.errors import CannotListenError, NameTakenError
from mgr.guard.identity import ProcessIdentity
from mgr.guard.worker_health import StoreContact
from mgr.settings import Settings
from mgr.store.api import Revision, Store
from mgr.store.keys import Keys

OnEvent = Callable[[Event], None]
"""Tells the machine what happened. The phase may be another one when it returns."""


@dataclass(frozen=True, slots=True)
class GuardContext:
    """What a guard is given at its start."""

    settings: Settings
    store: Store
    clock: Clock
    me: ProcessIdentity

    @property
    def name(self) -> str:
        """What this manager is called."""
        return self.settings.id

    @property
    def heartbeat_profile(self) -> HeartbeatProfile | None:
        """The pulse that is set; None for none."""
        return PROFILES[self.settings.profile]

    @property
    def keys(self) -> Keys:
        """Where things stand in the store."""
        return Keys(self.settings.cluster)


@dataclass(slots=True)
class Leadership:
    """An office and its moments on the clock.

    Attributes:
        deadline_s: How far its proof reaches.
        acquired_s: When it was won; its predecessor's key was gone before.
        heartbeat: Its pulse; None if the lease alone proves it.
        effects_from_s: Until when earlier terms may act. None while it is not signed for: then
            the worker was not told either, and nothing runs in its name.

    """

    key: LeaderKey
    deadline_s: float
    acquired_s: float
    heartbeat: AdaptiveHeartbeat | None
    effects_from_s: float | None = None
    shared: bool = False
    """Somebody else acts in this very term: its end certifies nothing."""

    @property
    def term(self) -> Revision:
        """The number of the term: the create revision of the leader key."""
        return self.key.term


@dataclass(slots=True)
class OperatorRequests:
    """What operators want."""

    successor: str = ""
    """Who is to lead next; empty: anybody."""
    reason: str = ""
    stopping: bool = False
    stop_now: bool = False


@dataclass(slots=True)
class State:
    """Changed by the guard's loop only. Parts read it, and tell the machine what happened."""

    phase: Phase = Phase.JOINING
    last_leadership: Leadership | None = None
    """The office last taken, until it is certainly given back."""
    released_s: float = float("-inf")
    """When this manager last gave an office back."""
    requests: OperatorRequests = field(default_factory=OperatorRequests)
    contact: StoreContact = field(default_factory=StoreContact)
    """How long the store has answered this guard without a gap."""
    phase_entered_s: float = float("-inf")
    """When the phase was entered."""
    unable: bool = False
    """The last term ended because its worker did not reach the store."""
    failure: NameTakenError | CannotListenError | None = None
    """Why this manager cannot be in the cluster at all."""

    @property
    def leadership(self) -> Leadership | None:
        """The office held; None in a phase that holds none."""
        return self.last_leadership if self.phase in LEADING else None

    @property
    def confirmable(self) -> Leadership | None:
        """The office whose proof matters; None in a phase that rests on none."""
        return self.last_leadership if self.phase in CONFIRMABLE else None

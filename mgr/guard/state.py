"""What the guard's parts share: the phase, the office held, what operators want."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from mgr.clock import Clock
from mgr.election.heartbeat import PROFILES, Cadence, Rhythm
from mgr.election.leader_key import Office
from mgr.election.machine import LEADING, PROVABLE, Event, Phase
from mgr.errors import CannotListenError, NameTakenError
from mgr.guard.identity import Identity
from mgr.guard.worker_health import StoreContact
from mgr.settings import Settings
from mgr.store.api import Store
from mgr.store.keys import Keys

Tell = Callable[[Event], None]
"""Tells the machine what happened. The phase may be another one when it returns."""


@dataclass(frozen=True, slots=True)
class Given:
    """What a guard is given at its start."""

    settings: Settings
    store: Store
    clock: Clock
    me: Identity

    @property
    def name(self) -> str:
        """What this manager is called."""
        return self.settings.id

    @property
    def cadence(self) -> Cadence | None:
        """The pulse that is set; None for none."""
        return PROFILES[self.settings.profile]

    @property
    def keys(self) -> Keys:
        """Where things stand in the store."""
        return Keys(self.settings.cluster)


@dataclass(slots=True)
class Term:
    """An office and its moments on the clock.

    Attributes:
        deadline_s: How far its proof reaches.
        won_s: When it was won; its predecessor's key was gone before.
        rhythm: Its pulse; None if the lease alone proves it.
        effects_from_s: Until when earlier terms may act. None while it is not signed for: then
            the worker was not told either, and nothing runs in its name.

    """

    office: Office
    deadline_s: float
    won_s: float
    rhythm: Rhythm | None
    effects_from_s: float | None = None
    shared: bool = False
    """Somebody else acts in this very term: its end certifies nothing."""


@dataclass(slots=True)
class Wishes:
    """What operators want."""

    successor: str = ""
    """Who is to lead next; empty: anybody."""
    why: str = ""
    stopping: bool = False
    halting: bool = False


@dataclass(slots=True)
class State:
    """Changed by the guard's loop only. Parts read it, and tell the machine what happened."""

    phase: Phase = Phase.JOINING
    taken: Term | None = None
    """The office last taken, until it is certainly given back."""
    left_s: float = float("-inf")
    """When this manager last gave an office back."""
    wishes: Wishes = field(default_factory=Wishes)
    contact: StoreContact = field(default_factory=StoreContact)
    """How long the store has answered this guard without a gap."""
    entered_s: float = float("-inf")
    """When the phase was entered."""
    unable: bool = False
    """The last term ended because its worker did not reach the store."""
    failure: NameTakenError | CannotListenError | None = None
    """Why this manager cannot be in the cluster at all."""

    @property
    def term(self) -> Term | None:
        """The office held; None in a phase that holds none."""
        return self.taken if self.phase in LEADING else None

    @property
    def provable(self) -> Term | None:
        """The office whose proof matters; None in a phase that rests on none."""
        return self.taken if self.phase in PROVABLE else None

"""What the reconciler returns: slots, steps, and a plan of both for each service."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple


class Action(Enum):
    """What an agent is to do."""

    DEPLOY = "deploy"
    STOP = "stop"
    REMOVE = "remove"


class Slot(NamedTuple):
    """A place for one daemon of a service."""

    host: str
    number: int

    def daemon(self, service: str) -> str:
        """Return the name of the daemon in this slot."""
        return f"{service}.{self.host}-{self.number}"


class Step(NamedTuple):
    """One order for the agent of a host; ``revision`` is empty unless something is deployed."""

    action: Action
    host: str
    service: str
    daemon: str
    revision: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be done for one service.

    Attributes:
        slots: Its slots from now on; to be stored before the steps are carried out.
        steps: To be carried out now, in any order.
        unplaced: Daemons for which there is no host.
        failed: Daemons of the wanted revision that failed, with the reason.
        ready: Daemons that are ready and of the wanted revision.
        done: Nothing is left to do: every daemon is ready, of its revision and where it belongs.
        unknown: Hosts that its placement names and nobody knows.
        nowhere: It is to run on every host that fits, and none does.
        taken: Hosts that would fit, if other services did not have its ports there.

    """

    slots: tuple[Slot, ...]
    steps: tuple[Step, ...]
    unplaced: int = 0
    failed: Mapping[str, str] = field(default_factory=dict)
    ready: int = 0
    done: bool = False
    unknown: tuple[str, ...] = ()
    nowhere: bool = False
    taken: tuple[str, ...] = ()

    def short(self) -> str:
        """Return why there are fewer daemons than wanted, empty if there are not."""
        reasons = []
        if self.unknown:
            reasons.append(f"there is no host {', '.join(self.unknown)}")
        if self.unplaced:
            reasons.append(f"{self.unplaced} daemons have no host that fits")
        elif self.nowhere and not self.unknown and not self.taken:
            reasons.append("no host fits its placement")
        if self.taken:
            more = f" and {len(self.taken) - 1} more" if self.taken[1:] else ""
            reasons.append(f"another service has its ports on {self.taken[0]}{more}")
        return "; ".join(reasons)

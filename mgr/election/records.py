"""What managers write about themselves into the store, for all who only want to know.

Three records, each JSON: who leads, who is there, and how the last term ended. A field this
release does not know is ignored, so that two releases can stand in one cluster.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, TypeVar

import msgspec

from mgr.link import ModuleReport
from mgr.store.api import UNREADABLE

Reason = Literal[
    "leading", "resigned", "reaped", "watchdog", "deadline", "unable", "deposed", "admin"
]
"""Why a term ended; ``leading`` while it has not.

``resigned``: handed over after a drain. ``reaped``: the worker was gone. ``watchdog``: it was
silent and therefore killed. ``deadline``: the term was not proven again in time, and the worker,
whose modules act outside etcd, was ended by the kernel. ``unable``: the worker did not reach etcd,
or did not finish starting. ``admin``: ended by an operator's hand. ``deposed``: a standby found
the leader silent; the only ending that is no proof of death.
"""

_ENDINGS: Final[Mapping[Reason, str]] = {
    "leading": "lost leadership without a hand-over: its lease is gone",
    "resigned": "handed over leadership",
    "reaped": "lost its worker, which died",
    "watchdog": "lost its worker, which stood still and was killed",
    "deadline": "did not reach etcd in time, and its worker was ended by its kill timer",
    "unable": "had a worker that did not reach etcd or did not finish starting",
    "deposed": "was silent and was deposed",
    "admin": "had its term ended by an operator",
}

R = TypeVar("R", bound=msgspec.Struct)


class Leader(msgspec.Struct, frozen=True, kw_only=True):
    """The value of the leader key. Its create revision, not written here, is the term.

    Attributes:
        incarnation: Which worker of this manager leads; new with every worker.
        since: When it won, wall time in ISO 8601: to be printed, never compared.
        lease_ttl_s: The lease as granted; how long a silent leader may be believed in.
        heartbeat_timeout_s: How long after a pulse it may act, on its own clock. Whoever deposes it
            uses this number and never one of his own. 0: it has no pulse.

    """

    name: str
    incarnation: str
    grpc_address: str
    http_address: str
    version: str
    since: str
    lease_ttl_s: float
    heartbeat_timeout_s: float = 0.0


class Presence(msgspec.Struct, frozen=True, kw_only=True):
    """The value of ``managers/<name>``: there from joining on, ``warm`` once it could lead.

    Attributes:
        incarnation: Which worker of this manager is meant; empty while none is warm.
        host: Host name, for people.
        boot_id: Which boot of which kernel the process belongs to.
        pid_namespace: In which namespace ``pid`` is counted.
        pid: The guard's process id.
        pid_started: When that process started, in clock ticks since boot: tells it from a
            later process with the same id.
        warm: The worker has its modules imported, its mirror current and its ports open.
        started_at: When the guard started, wall time in ISO 8601, for people.
        host_metadata: The host, by the names that ``mgr metadata`` shows.

    """

    name: str
    incarnation: str
    host: str
    boot_id: str
    pid_namespace: str
    pid: int
    pid_started: int
    grpc_address: str
    http_address: str
    version: str
    modules: tuple[ModuleReport, ...] = ()
    warm: bool = False
    started_at: str = ""
    host_metadata: dict[str, str] = {}


class TermRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The value of ``term_record``: how the newest term stands.

    Written first by the winner (``leading``, not quiesced), then in the transaction that deletes
    the leader key. So a term that ended without a word, by expiry, still reads ``leading``, and
    nobody mistakes an older term's certificate for its own predecessor's.

    Attributes:
        quiesced: Nothing of that term, or of any before it, acts any more: it drained, or its
            processes are dead, and it had outwaited its own predecessors.
        window_s: How long after the end of that term something may still act; 0 if quiesced.
        why: Who wanted a hand-over, for people; empty if nobody did.

    """

    term: int
    name: str
    reason: Reason
    quiesced: bool
    window_s: float
    why: str = ""

    @property
    def planned(self) -> bool:
        """Whether that was a hand-over."""
        return self.reason == "resigned"

    def summary(self) -> str:
        """How that term ended, in one line for operators."""
        why = f": {self.why}" if self.why else ""
        return f"mgr.{self.name} {_ENDINGS[self.reason]}{why}"


_ENCODER: Final = msgspec.json.Encoder()


def encode(record: Leader | Presence | TermRecord) -> str:
    """Return ``record`` as the store holds it."""
    return _ENCODER.encode(record).decode()


def decode(value: str, kind: type[R]) -> R | None:
    """Read a record of ``kind``; None if it cannot be read: unknown is safer than a crash."""
    try:
        return msgspec.json.decode(value, type=kind)
    except UNREADABLE:
        return None

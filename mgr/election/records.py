"""The records that managers write into etcd: ``Leader``, ``Presence`` and ``TermRecord``.

Each is JSON. Unknown fields are ignored, so that managers of two versions can run in one cluster.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, TypeVar

import msgspec

from mgr.link import CertificateReport, ModuleReport
from mgr.store.api import UNREADABLE

Reason = Literal[
    "leading", "resigned", "reaped", "watchdog", "deadline", "unable", "deposed", "admin"
]
"""Why a term ended; ``leading`` while it has not.

``resigned``: handed over after a drain. ``reaped``: the worker had exited. ``watchdog``: the worker
sent no heartbeats and was killed. ``deadline``: the term was not confirmed in time, and the worker,
whose modules act outside etcd, was killed by its kernel timer. ``unable``: the worker did not reach
etcd, or did not finish starting. ``admin``: ended by an operator by hand. ``deposed``: a standby
found no leader heartbeat; the only ending that does not prove that the processes are dead.
"""

_ENDINGS: Final[Mapping[Reason, str]] = {
    "leading": "lost leadership without a hand-over: its lease is gone",
    "resigned": "handed over leadership",
    "reaped": "lost its worker, which died",
    "watchdog": "had a worker that did not respond and was killed",
    "deadline": "did not reach etcd in time, and its worker was ended by its kill timer",
    "unable": "had a worker that did not reach etcd or did not finish starting",
    "deposed": "was silent and was deposed",
    "admin": "had its term ended by an operator",
}

R = TypeVar("R", bound=msgspec.Struct)


class Leader(msgspec.Struct, frozen=True, kw_only=True):
    """The value of the leader key. Its create revision, not written here, is the term.

    Attributes:
        incarnation: Identifies the worker that leads; every worker of a manager has a new one.
        since: When leadership was acquired, wall time in ISO 8601: to be printed, never compared.
        lease_ttl_s: The lease as granted: how long a silent leader may still be the leader.
        heartbeat_timeout_s: How long after a heartbeat the leader may act, on its own clock. A
            standby that deposes it uses this number, never its own setting. 0: it sends no
            heartbeats.
        join_address: Where programs without a certificate join by token; empty: nowhere.

    """

    name: str
    incarnation: str
    grpc_address: str
    http_address: str
    version: str
    since: str
    lease_ttl_s: float
    heartbeat_timeout_s: float = 0.0
    join_address: str = ""


class Presence(msgspec.Struct, frozen=True, kw_only=True):
    """The value of ``managers/<name>``, written when a manager joins.

    Attributes:
        incarnation: Identifies the worker of this manager; empty while there is none.
        host: Host name, for people.
        boot_id: The boot id of the kernel that the process runs on.
        pid_namespace: The namespace in which ``pid`` is valid.
        pid: The guard's process id.
        pid_started: When that process started, in clock ticks since boot: distinguishes it from a
            later process with the same id.
        warm: Whether this is a warm standby or an active: its worker has its modules imported, its
            mirror current and its ports open.
        started_at: When the guard started, wall time in ISO 8601, for people.
        audit_trouble: Why a required audit sink of it does not keep records; empty if all do.
        host_metadata: The host, with the field names that ``mgr metadata`` shows.
        certificates: When this manager's certificates end.
        signs: It has the passphrase of the CA's key, so it signs certificates.
        unprotected: Listeners beyond loopback without TLS or client certificates.
        settings: Its settings that should be those of every manager (``mgr compare``).

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
    audit_trouble: str = ""
    host_metadata: dict[str, str] = {}
    certificates: tuple[CertificateReport, ...] = ()
    unprotected: tuple[str, ...] = ()
    signs: bool = False
    settings: dict[str, str] = {}


class Ending(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is known about the end of a term, for people: no decision depends on it.

    Attributes:
        at: When the leader key was released, wall time in ISO 8601.
        by: The manager that ended the term; empty: the one that led.
        asked_by: The client or signal that requested it; empty if nobody did, or it is unknown.
        cause: What the worker died of: a signal, an exit status, the module that caused it.
        silent_s: For how long the leader had been silent when the term was ended.

    """

    at: str = ""
    by: str = ""
    asked_by: str = ""
    cause: str = ""
    silent_s: float = 0.0


class TermRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The value of ``term_record``: the state of the newest term, and how it ended.

    Written first by the new leader (``leading``, not quiesced), then in the transaction that
    deletes the leader key. So the record of a term that ended by expiry still says ``leading``, and
    no successor takes the end-of-term record of an older term for that of its predecessor.

    Attributes:
        quiesced: Nothing of that term, or of any before it, acts any more: it drained, or its
            processes are dead, and it had waited until its own predecessors were over.
        window_s: How long after the end of that term something may still act, in seconds; 0 if
            quiesced.
        why: Who requested a hand-over, for people; empty if nobody did. With the reason
            ``reaped``: the hand-over that was requested, and why the worker was ended.
        ending: Further details, for people; None while the term lasts.

    """

    term: int
    name: str
    reason: Reason
    quiesced: bool
    window_s: float
    why: str = ""
    ending: Ending | None = None

    @property
    def planned(self) -> bool:
        """Whether the term ended with a hand-over."""
        return self.reason == "resigned"

    def summary(self) -> str:
        """Describe how the term ended, in one line for operators."""
        why = f": {self.why}" if self.why else ""
        # Somebody asked for it: the death of the worker was how it was done.
        asked = self.reason == "reaped" and self.why
        died_of = "" if asked or self.ending is None else self.ending.cause
        cause = f" ({died_of})" if died_of else ""
        return f"mgr.{self.name} {_ENDINGS['resigned' if asked else self.reason]}{cause}{why}"


_ENCODER: Final = msgspec.json.Encoder()


def encode(record: Leader | Presence | TermRecord) -> str:
    """Encode ``record`` as the store holds it."""
    return _ENCODER.encode(record).decode()


def decode(value: str, kind: type[R]) -> R | None:
    """Decode a record of ``kind``; None if it is malformed, so that bad data crashes no manager."""
    try:
        return msgspec.json.decode(value, type=kind)
    except UNREADABLE:
        return None

"""The messages between guard and worker, one JSON object per line over a socketpair.

The guard takes part in the election; the worker runs modules and serves clients. Times are seconds
on ``CLOCK_BOOTTIME``, which both processes of a host share, so a deadline is sent as a number that
the worker compares with its own clock.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Final

import msgspec

LINE_BYTES_MAX: Final = 1 << 20
UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What decoding a line may raise: it is no such message, not UTF-8, or nested too deeply."""


class Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """Base class of the messages. The tag of the class is in the field ``type``."""


class KnownStoreState(msgspec.Struct, frozen=True, kw_only=True):
    """The known identity and progress of the etcd cluster, passed from process to process.

    Attributes:
        cluster_id: The id in the header of every answer; 0: not known.
        newest_revision: The newest revision that was observed; 0: none.
        newest_term: The newest term that was observed (create revision of the leader key); 0: none.

    """

    cluster_id: int = 0
    newest_revision: int = 0
    newest_term: int = 0


# -- from the guard ---------------------------------------------------------------------------


class Init(Message, frozen=True, kw_only=True, tag="init"):
    """The first message: the settings, and the ``incarnation`` of this worker.

    ``store`` is the etcd cluster that the guard knows: both processes must expect the same one.
    ``quarantined`` names quarantined modules that etcd does not name yet, and why.
    """

    settings: msgspec.Raw
    incarnation: str
    store: KnownStoreState = KnownStoreState()
    quarantined: dict[str, str] = {}


class Prepare(Message, frozen=True, kw_only=True, tag="prepare"):
    """Order to prepare for ``term``, which this manager has acquired: nothing may act yet.

    ``Promote`` follows once the term record is open. ``lease`` is the manager's lease, for keys
    that must end with this manager (``services/``).
    """

    term: int
    lease: int


class Promote(Message, frozen=True, kw_only=True, tag="promote"):
    """Order to become the active: start the modules, open the gate until ``deadline_s``.

    Follows ``Prepare``. Writes may begin at once, since the store fences them. Effects outside the
    store must wait until ``effects_from_s``: before that, a predecessor without an end-of-term
    record may still act. If ``predecessor_quiesced``, there is no need to wait.
    ``predecessor_end`` describes how the last
    term ended, empty for the first term ever; ``planned`` is whether that was a hand-over.
    """

    term: int
    deadline_s: float
    predecessor_quiesced: bool
    effects_from_s: float = 0.0
    predecessor_end: str = ""
    planned: bool = True


class ExtendDeadline(Message, frozen=True, kw_only=True, tag="extend_deadline"):
    """The term was confirmed again: the gate stays open until ``deadline_s``."""

    term: int
    deadline_s: float


class Drain(Message, frozen=True, kw_only=True, tag="drain"):
    """Order to drain: queue new calls, finish running ones within ``budget_s``, stop the modules.

    Answered by ``Drained``.
    """

    term: int
    budget_s: float


class TimeLimited(Message, frozen=True, kw_only=True, tag="time_limited"):
    """The kill timer is set: modules that act outside etcd may start.

    From now on the kernel ends this worker, with everything it started, at the deadline of the
    term. Sent once, in answer to ``ActsOutside``.
    """

    term: int


class LeadershipReleased(Message, frozen=True, kw_only=True, tag="leadership_released"):
    """The leader key is released: answer queued calls with the successor's address, then exit."""

    term: int


class Shutdown(Message, frozen=True, kw_only=True, tag="shutdown"):
    """Order to exit now, because the term is over or the manager stops: abort, flush the log."""

    reason: str


class CheckCertificates(Message, frozen=True, kw_only=True, tag="check_certificates"):
    """Order to read the certificate files again now: the guard got SIGHUP."""


class PhaseChanged(Message, frozen=True, kw_only=True, tag="phase_changed"):
    """The phase of this manager in the election, and why; shown by ``status``, decides nothing."""

    phase: str
    note: str = ""


# -- from the worker --------------------------------------------------------------------------


class WorkerHeartbeat(Message, frozen=True, kw_only=True, tag="worker_heartbeat"):
    """A heartbeat. Sent by the event loop itself, never by a thread: a blocked loop sends none.

    Attributes:
        write_age_s: Seconds since the store last confirmed a write of this worker's term; None
            while it does not lead.
        mirror_age_s: Seconds since its copy of the store was last known to be current; None
            before the first time.

    """

    sent_s: float
    write_age_s: float | None = None
    mirror_age_s: float | None = None


class ModuleReport(msgspec.Struct, frozen=True, kw_only=True):
    """A module on this manager's disk, as the other managers see it."""

    name: str
    can_run: bool
    error: str = ""
    outdated: str = ""
    """Why its code differs from what the active reloaded; empty if it does not."""
    files: str = ""
    """A digest of its files; empty if it belongs to an installed distribution."""
    package: str = ""
    """SHA-256 of the package it comes from; empty if it was not installed by command."""
    standby_error: str = ""
    """Why its standby instance failed on this manager; empty if it runs, or there is none."""


class CertificateReport(msgspec.Struct, frozen=True, kw_only=True):
    """When a certificate of a manager ends.

    Attributes:
        setting: The setting that names its file: ``tls_cert``, ``tls_ca``, ...
        begins_at: Wall time in ISO 8601.
        ends_at: The same.
        renews: Whether the manager renews it by itself.

    """

    setting: str
    begins_at: str
    ends_at: str
    renews: bool = False


class Ready(Message, frozen=True, kw_only=True, tag="ready"):
    """The worker is a warm standby: modules imported, mirror current, ports open.

    The addresses are those that clients use; ``join_address`` is empty if nobody can join there.
    ``signs``: it has the passphrase of the CA's key.
    """

    grpc_address: str
    http_address: str
    modules: tuple[ModuleReport, ...] = ()
    join_address: str = ""
    certificates: tuple[CertificateReport, ...] = ()
    signs: bool = False


class StartFailed(Message, frozen=True, kw_only=True, tag="start_failed"):
    """The last message of a worker that cannot start, because of a setting or a port.

    ``invalid``: a setting or the file that it names is wrong; otherwise it cannot listen on a port.
    """

    why: str
    invalid: bool = False


class ModulesChanged(Message, frozen=True, kw_only=True, tag="modules_changed"):
    """The modules on this manager's disk were reloaded, or their standby instances failed.

    Replaces the list in ``Ready``.
    """

    modules: tuple[ModuleReport, ...]


class CertificatesChanged(Message, frozen=True, kw_only=True, tag="certificates_changed"):
    """This manager's certificates changed, or whether it signs; replaces what ``Ready`` said."""

    certificates: tuple[CertificateReport, ...]
    signs: bool = False


class Started(Message, frozen=True, kw_only=True, tag="started"):
    """The modules of this term are constructed, or their time is up: commands are accepted."""

    term: int


class ActsOutside(Message, frozen=True, kw_only=True, tag="acts_outside"):
    """A module that acts outside etcd is about to start. It waits for ``TimeLimited``.

    With ``acts`` False: no such module is left.
    """

    term: int
    acts: bool


class Drained(Message, frozen=True, kw_only=True, tag="drained"):
    """Nothing of this term runs any more; ``quiesced`` is False if a module did not stop."""

    term: int
    quiesced: bool


class Resign(Message, frozen=True, kw_only=True, tag="resign"):
    """A hand-over is requested, to ``successor`` if it is not empty.

    ``asked_by`` names the client that requests it; empty if the manager itself does.
    """

    reason: str
    successor: str = ""
    asked_by: str = ""


class AuditTrouble(Message, frozen=True, kw_only=True, tag="audit_trouble"):
    """A required audit sink of this worker does not keep records; empty: all do again."""

    why: str


class Fenced(Message, frozen=True, kw_only=True, tag="fenced"):
    """The store refused a write of this term: a successor exists."""

    term: int


FromGuard = (
    Init
    | Prepare
    | Promote
    | ExtendDeadline
    | TimeLimited
    | Drain
    | LeadershipReleased
    | Shutdown
    | CheckCertificates
    | PhaseChanged
)
FromWorker = (
    WorkerHeartbeat
    | Ready
    | StartFailed
    | ModulesChanged
    | CertificatesChanged
    | Started
    | ActsOutside
    | Drained
    | Resign
    | AuditTrouble
    | Fenced
)

_ENCODER: Final = msgspec.json.Encoder()
_FROM_GUARD: Final[msgspec.json.Decoder[FromGuard]] = msgspec.json.Decoder(FromGuard)
_FROM_WORKER: Final[msgspec.json.Decoder[FromWorker]] = msgspec.json.Decoder(FromWorker)


def encode(message: Message) -> bytes:
    """Encode ``message`` as one line, newline included."""
    return _ENCODER.encode(message) + b"\n"


def from_guard(line: bytes) -> FromGuard:
    """Decode a line that the guard wrote."""
    return _FROM_GUARD.decode(line)


def from_worker(line: bytes) -> FromWorker:
    """Decode a line that the worker wrote."""
    return _FROM_WORKER.decode(line)


async def open_link(
    end: socket.socket,
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open one end of the socketpair; the reader reaches its end when the other process ends."""
    return await asyncio.open_unix_connection(sock=end, limit=LINE_BYTES_MAX)

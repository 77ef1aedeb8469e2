"""What guard and worker say to each other: messages, and one a line over a socketpair.

The guard decides who leads; the worker does the work. Times are seconds on
``CLOCK_BOOTTIME``, which both processes of a host share, so a deadline can be handed over as
a number and is compared without asking anybody.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Final

import msgspec

LINE_BYTES_MAX: Final = 1 << 20


class Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """One line. The class name travels as ``type``."""


class KnownStoreState(msgspec.Struct, frozen=True, kw_only=True):
    """What a manager knows of its etcd cluster, kept from one process to the next.

    Attributes:
        cluster_id: The id in the header of every answer; 0: not known.
        newest_revision: The newest revision that was seen committed; 0: none.
        newest_term: The newest term that was seen, the create revision of a leader key; 0: none.

    """

    cluster_id: int = 0
    newest_revision: int = 0
    newest_term: int = 0


# -- from the guard ---------------------------------------------------------------------------


class Init(Message, frozen=True, kw_only=True, tag="init"):
    """The first message: the settings, and what this worker's manager is called this time.

    ``store`` is what the guard knows of etcd: both processes must expect the same cluster.
    """

    settings: msgspec.Raw
    incarnation: str
    store: KnownStoreState = KnownStoreState()


class Promote(Message, frozen=True, kw_only=True, tag="promote"):
    """You are the active: start the modules, open the gate until ``deadline_s``.

    ``lease`` is the node lease, for keys that must end with this manager (``services/``). Writes
    may begin at once, the store judges them; effects outside it must wait for ``effects_from_s``,
    until when a predecessor without an end-of-term record may act. Already over if
    ``predecessor_quiesced``. ``predecessor_end`` says in words how the last
    term ended, and whether that was ``planned``; empty for the first term ever.
    """

    term: int
    deadline_s: float
    predecessor_quiesced: bool
    lease: int
    effects_from_s: float = 0.0
    predecessor_end: str = ""
    planned: bool = True


class ExtendDeadline(Message, frozen=True, kw_only=True, tag="extend_deadline"):
    """The term was proven again: the gate stays open until ``deadline_s``."""

    term: int
    deadline_s: float


class Drain(Message, frozen=True, kw_only=True, tag="drain"):
    """Hold new calls, finish running ones within ``budget_s``, stop the modules, say Drained."""

    term: int
    budget_s: float


class TimeLimited(Message, frozen=True, kw_only=True, tag="time_limited"):
    """The kill timer is set: modules that act outside etcd may start.

    From now on the kernel ends this worker, with everything it started, at the deadline of the
    term. Sent once, in answer to ``ActsOutside``.
    """

    term: int


class LeadershipReleased(Message, frozen=True, kw_only=True, tag="leadership_released"):
    """The leader key is given back. Answer held calls with the new address, then exit."""

    term: int


class Shutdown(Message, frozen=True, kw_only=True, tag="shutdown"):
    """The term is over, or the manager stops: abort what runs, flush the log, exit now."""

    reason: str


class PhaseChanged(Message, frozen=True, kw_only=True, tag="phase_changed"):
    """How this manager stands in the election; shown by status, decides nothing."""

    phase: str
    note: str = ""


# -- from the worker --------------------------------------------------------------------------


class WorkerHeartbeat(Message, frozen=True, kw_only=True, tag="worker_heartbeat"):
    """The event loop turns. Sent from the loop itself, never from a thread.

    Attributes:
        write_age_s: Seconds since the store last confirmed a write of this worker's term; None
            while it leads no term.
        mirror_age_s: Seconds since its copy of the store was last proven current; None before
            the first time.

    """

    sent_s: float
    write_age_s: float | None = None
    mirror_age_s: float | None = None


class ModuleReport(msgspec.Struct, frozen=True, kw_only=True):
    """A module this manager has on disk, as other managers must know it."""

    name: str
    can_run: bool
    error: str = ""
    outdated: str = ""
    """Why its code is not that which the active reloaded; empty if it is."""


class Ready(Message, frozen=True, kw_only=True, tag="ready"):
    """Warm: modules imported, mirror current, ports open. Addresses are as clients reach them."""

    grpc_address: str
    http_address: str
    modules: tuple[ModuleReport, ...] = ()


class StartFailed(Message, frozen=True, kw_only=True, tag="start_failed"):
    """The last word of a worker that will not become warm: it cannot listen, and ``why``."""

    why: str


class ModulesChanged(Message, frozen=True, kw_only=True, tag="modules_changed"):
    """The modules on this manager's disk were read anew: what ``Ready`` said of them is old."""

    modules: tuple[ModuleReport, ...]


class Started(Message, frozen=True, kw_only=True, tag="started"):
    """The modules of this term are constructed (or their time is up): commands are taken."""

    term: int


class ActsOutside(Message, frozen=True, kw_only=True, tag="acts_outside"):
    """A module is about to start that acts outside etcd (or, ``acts`` being False, none is left).

    The module waits for ``TimeLimited``.
    """

    term: int
    acts: bool


class Drained(Message, frozen=True, kw_only=True, tag="drained"):
    """Nothing of this term runs any more; ``quiesced`` is False if a module did not stop."""

    term: int
    quiesced: bool


class Resign(Message, frozen=True, kw_only=True, tag="resign"):
    """An operator asked: give up the office, to ``successor`` if named."""

    reason: str
    successor: str = ""


class Fenced(Message, frozen=True, kw_only=True, tag="fenced"):
    """The store refused a write of this term: a successor exists."""

    term: int


FromGuard = (
    Init
    | Promote
    | ExtendDeadline
    | TimeLimited
    | Drain
    | LeadershipReleased
    | Shutdown
    | PhaseChanged
)
FromWorker = (
    WorkerHeartbeat
    | Ready
    | StartFailed
    | ModulesChanged
    | Started
    | ActsOutside
    | Drained
    | Resign
    | Fenced
)

_ENCODER: Final = msgspec.json.Encoder()
_FROM_GUARD: Final[msgspec.json.Decoder[FromGuard]] = msgspec.json.Decoder(FromGuard)
_FROM_WORKER: Final[msgspec.json.Decoder[FromWorker]] = msgspec.json.Decoder(FromWorker)


def encode(message: Message) -> bytes:
    """One line, newline included."""
    return _ENCODER.encode(message) + b"\n"


def from_guard(line: bytes) -> FromGuard:
    """Read a line that the guard wrote."""
    return _FROM_GUARD.decode(line)


def from_worker(line: bytes) -> FromWorker:
    """Read a line that the worker wrote."""
    return _FROM_WORKER.decode(line)


async def open_link(
    end: socket.socket,
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Speak over one end of the socketpair; the reader ends when the other process does."""
    return await asyncio.open_unix_connection(sock=end, limit=LINE_BYTES_MAX)

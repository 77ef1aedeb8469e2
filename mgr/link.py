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


class Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="say"):
    """One line. The class name travels as ``say``."""


class StoreSeen(msgspec.Struct, frozen=True, kw_only=True):
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


class Begin(Message, frozen=True, kw_only=True, tag="begin"):
    """The first message: the settings, and what this worker's manager is called this time.

    ``store`` is what the guard knows of etcd: both processes must expect the same cluster.
    """

    settings: msgspec.Raw
    incarnation: str
    store: StoreSeen = StoreSeen()


class Lead(Message, frozen=True, kw_only=True, tag="lead"):
    """You are the active: start the modules, open the gate until ``deadline_s``.

    ``lease`` is the node lease, for keys that must end with this manager (``services/``). Writes
    may begin at once, the store judges them; effects outside it must wait for ``effects_from_s``,
    until when a predecessor without a death certificate may act. Already over if
    ``predecessor_quiesced``. ``ended`` says in words how the last term ended, and whether that
    was ``planned``; empty for the first term ever.
    """

    term: int
    deadline_s: float
    predecessor_quiesced: bool
    lease: int
    effects_from_s: float = 0.0
    ended: str = ""
    planned: bool = True


class Extend(Message, frozen=True, kw_only=True, tag="extend"):
    """The term was proven again: the gate stays open until ``deadline_s``."""

    term: int
    deadline_s: float


class Drain(Message, frozen=True, kw_only=True, tag="drain"):
    """Hold new calls, finish running ones within ``budget_s``, stop the modules, say Drained."""

    term: int
    budget_s: float


class Released(Message, frozen=True, kw_only=True, tag="released"):
    """The leader key is given back. Answer held calls with the new address, then exit."""

    term: int


class Retire(Message, frozen=True, kw_only=True, tag="retire"):
    """The term is over, or the manager stops: abort what runs, flush the log, exit now."""

    reason: str


class Standing(Message, frozen=True, kw_only=True, tag="standing"):
    """How this manager stands in the election; shown by status, decides nothing."""

    phase: str
    note: str = ""


# -- from the worker --------------------------------------------------------------------------


class Heartbeat(Message, frozen=True, kw_only=True, tag="heartbeat"):
    """The event loop turns. Sent from the loop itself, never from a thread."""

    sent_s: float


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


class Unable(Message, frozen=True, kw_only=True, tag="unable"):
    """The last word of a worker that will not become warm: it cannot listen, and ``why``."""

    why: str


class Modules(Message, frozen=True, kw_only=True, tag="modules"):
    """The modules on this manager's disk were read anew: what ``Ready`` said of them is old."""

    modules: tuple[ModuleReport, ...]


class Started(Message, frozen=True, kw_only=True, tag="started"):
    """The modules of this term are constructed (or their time is up): commands are taken."""

    term: int


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


FromGuard = Begin | Lead | Extend | Drain | Released | Retire | Standing
FromWorker = Heartbeat | Ready | Unable | Modules | Started | Drained | Resign | Fenced

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

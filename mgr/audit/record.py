"""One record of the audit, and its form in etcd and in files."""

from __future__ import annotations

import socket
import uuid
from datetime import datetime
from typing import Any, Final, Literal

import msgspec

from mgr.clock import timestamp
from mgr.store.api import UNREADABLE, Put
from mgr.store.keys import Keys

Outcome = Literal["started", "ok", "failed", "not_run", "unknown", "refused"]
"""``started``: runs, or its manager lost leadership while it ran. ``ok``, ``failed``: it ran and
answered so. ``not_run``: it was recorded and then not run. ``unknown``: it ran, perhaps in part.
``refused``: the caller may not do it."""

OUTCOMES: Final[tuple[Outcome, ...]] = ("started", "ok", "failed", "not_run", "unknown", "refused")


class AuditRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What somebody changed, or was refused.

    Records are in the order of ``term``, then ``sequence``, whatever the clocks say.

    Attributes:
        at: Wall time in ISO 8601, for display only.
        manager: The manager that wrote it; for a command without an active, that executed it.
        who: The author, such as ``client.ops``; empty for the manager itself and its modules.
        kind: Where the author's name comes from.
        address: The client's IP address.
        command: The prefix of the command, or the command that a call stands for.
        arguments: The arguments as text; values of secrets are masked.
        input_bytes: Size of ``-i FILE``; its content is never recorded.
        retval: The answer's number; None if there is no answer.
        detail: Why it was not run, or refused.
        count: How many refusals of this author the record stands for.
        last: When the last one of them was, wall time.
        commands: The refused commands and how often each was refused.
        unled: It was executed while no manager led, before this term.
        trace_id: The trace in which it was requested, 32 hexadecimal digits; empty without one.

    """

    term: int
    sequence: int
    at: str
    manager: str
    command: str
    outcome: Outcome
    who: str = ""
    kind: str = ""
    address: str = ""
    arguments: dict[str, str] = {}
    input_bytes: int = 0
    request_id: str = ""
    retval: int | None = None
    detail: str = ""
    count: int = 1
    last: str = ""
    commands: dict[str, int] = {}
    unled: bool = False
    trace_id: str = ""

    @property
    def id(self) -> str:
        """The place of the record in the order, for ``audit ls --after``."""
        return f"{self.term}-{self.sequence}"

    def document(self) -> dict[str, Any]:
        """Return every field as data, and ``text`` for people; the names are stable."""
        fields: dict[str, Any] = msgspec.to_builtins(self)
        defaults = {"who": "", "kind": "", "address": "", "arguments": {}, "input_bytes": 0}
        defaults |= {"request_id": "", "retval": None, "detail": "", "count": 1}
        return {"id": self.id, **defaults, **fields, "text": self.line()}

    def line(self) -> str:
        """Return one line for people; nothing in it can begin another line."""
        arguments = " ".join(f"{name}={value}" for name, value in self.arguments.items())
        parts = [self.at, self.id, self.who or f"mgr.{self.manager}"]
        if self.address:
            parts.append(f"from {self.address}")
        parts += [self.outcome, f"'{self.command}'", arguments]
        if self.count > 1:
            commands = ", ".join(f"'{each}' x{n}" for each, n in self.commands.items())
            parts.append(f"({self.count} times until {self.last}: {commands})")
        if self.detail:
            parts.append(f"({self.detail})")
        return printable(" ".join(part for part in parts if part))


_ENCODER: Final = msgspec.json.Encoder()


def encode(record: AuditRecord) -> str:
    """Encode ``record`` as one line of JSON."""
    return _ENCODER.encode(record).decode()


def decode(value: str) -> AuditRecord | None:
    """Decode a stored record; None if it is malformed."""
    try:
        return msgspec.json.decode(value, type=AuditRecord)
    except UNREADABLE:
        return None


def note_of_etcd_owner(keys: Keys, command: str, arguments: dict[str, str]) -> Put:
    """Return the note of a command of whoever owns etcd; an active makes a record of it."""
    at = timestamp()
    note = AuditRecord(
        term=0,
        sequence=0,
        at=at,
        manager=socket.gethostname(),
        command=command,
        outcome="ok",
        who="the owner of etcd",
        arguments=arguments,
        unled=True,
    )
    return Put(keys.unled_note(f"{at}-{uuid.uuid4().hex[:8]}"), encode(note))


def place_of(text: str) -> tuple[int, int]:
    """Return term and sequence of an ``id``.

    Raises:
        ValueError: It is not of the form ``TERM-SEQUENCE``.

    """
    term, _, sequence = text.partition("-")
    return int(term), int(sequence)


def moment_of(text: str) -> datetime | None:
    """Return the time in ``at``; None if it cannot be read."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def printable(text: str) -> str:
    """Return ``text`` with every character escaped that could move a cursor or begin a line."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)

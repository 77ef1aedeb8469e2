"""Executes a few commands while there is no active: those that may make one possible again.

A module that kills every manager keeps them all from leading, and then there is no active that
could disable it. So each manager takes the commands in ``COMMANDS``. Every write is conditional, as
the active's are, but on the opposite: that no leader key exists (docs/adr/0044). Each command only
stores something, and storing it twice is the same as once.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from mgr.access.caps import AccessRequest
from mgr.access.identity import Caller
from mgr.argument.descriptor import Signature
from mgr.argument.match import match
from mgr.argument.unled import UNLED_COMMANDS
from mgr.audit.author import author_of, kind_of
from mgr.audit.masking import shown_arguments
from mgr.audit.record import AuditRecord
from mgr.audit.record import encode as encode_record
from mgr.clock import timestamp
from mgr.config.enabled_modules import Switch, encode
from mgr.config.history import ConfigHistory
from mgr.config.values import sections_of
from mgr.config.worker_deaths import Quarantine, quarantine_operation, release_operations
from mgr.errors import ConflictError, InvalidArgumentError, NotFoundError, OverloadedError
from mgr.host.worker_context import WorkerContext
from mgr.store.api import (
    ABSENT,
    NO_LEASE,
    Compare,
    Created,
    Delete,
    LeaseId,
    Operation,
    Put,
    Record,
    Revision,
)
from mgr.store.keys import NAME

WRITE_S: Final = 2.0
"""Time limit of one write, and of the wait until the mirror shows it."""
NOTES_MAX: Final = 1000
"""Limit of stored notes for the next active's audit; without a note no command is executed."""
STORED: Final = "stored; no manager is active"

log = logging.getLogger(__name__)


class UnledAnswer(NamedTuple):
    """The answer to a command, with the fields of the active's answers."""

    retval: int = 0
    stdout: str = ""
    stderr: str = STORED
    term: int = 0


class LeaderExistsError(Exception):
    """The store refused a write because a leader key, or a record of the request, exists."""


class UnledWriter:
    """Writes while no leader key exists: a ``FencedWriter`` without a term."""

    term: Revision = ABSENT

    def __init__(self, manager: WorkerContext, note: AuditRecord) -> None:
        """Write for one request; ``note`` is stored with it for the next active's audit."""
        request_id, self.author = note.request_id, note.who
        self._manager = manager
        self._keys = manager.keys
        self._note = encode_record(note)
        self._absent = [Created(self._keys.leader, ABSENT)]
        if request_id:
            # An active began this request: only an active knows whether it ran.
            self._absent.append(Created(self._keys.request(request_id), ABSENT))
        self._refused_at = ABSENT

    async def put(self, key: str, value: str, lease: LeaseId = NO_LEASE) -> Revision:
        """Write one key."""
        return await self.commit([Put(key, value, lease)])

    async def delete(self, key: str) -> Revision:
        """Remove one key."""
        return await self.commit([Delete(key)])

    async def commit(
        self,
        operations: Sequence[Operation],
        when: Sequence[Compare] = (),
        *,
        timeout_s: float | None = None,
    ) -> Revision:
        """Do ``operations``, with the note, if ``when`` holds and no leader key exists.

        Raises:
            LeaderExistsError: There is a leader, or an active has begun this request.
            ConflictError: A record in ``when`` has changed.
            StoreError: See ``Store.commit``.

        """
        manager = self._manager
        if manager.space is not None:
            manager.space.admit(operations, manager.mirror.get)
        absent_keys = [each.key for each in self._absent]
        outcome = await manager.store.commit(
            [*operations, *self._notes()],
            when=[*self._absent, *when],
            otherwise_get=absent_keys,
            timeout_s=min(timeout_s or WRITE_S, WRITE_S),
        )
        if outcome.succeeded:
            await manager.mirror.wait_for_revision(outcome.revision, WRITE_S)
            return outcome.revision
        if any(outcome.found):
            raise LeaderExistsError
        self._refused_at = outcome.revision
        raise ConflictError("the records were changed meanwhile; try again")

    async def read_settled(
        self,
        keys: Sequence[str] = (),
        prefixes: Sequence[str] = (),  # noqa: ARG002 - only a reset reads prefixes
        *,
        timeout_s: float | None = None,
    ) -> dict[str, Record]:
        """Return the records of ``keys`` as they are stored now."""
        found = [await self._manager.store.get(key, timeout_s=timeout_s) for key in keys]
        return {record.key: record for record in found if record is not None}

    async def catch_up(self, when: Sequence[Compare], *, timeout_s: float) -> None:  # noqa: ARG002 - the revision says it
        """Wait until the mirror shows what the refused write was compared with."""
        await self._manager.mirror.wait_for_revision(self._refused_at, timeout_s)

    def _notes(self) -> list[Operation]:
        if len(self._manager.mirror.list(self._keys.unled)) >= NOTES_MAX:
            raise OverloadedError(
                f"{NOTES_MAX} commands were executed without an active: no further one is, until "
                "one has recorded them"
            )
        return [Put(self._keys.unled_note(f"{timestamp()}-{uuid.uuid4().hex[:8]}"), self._note)]


Arguments = Mapping[str, Any]
Handler = Callable[[WorkerContext, UnledWriter, Arguments], Awaitable[None]]


async def _set_down(manager: WorkerContext, writer: UnledWriter, arguments: Arguments) -> None:
    if arguments["down"] == "true":
        await writer.put(manager.keys.down, timestamp())
    else:
        await writer.delete(manager.keys.down)


async def _enable(manager: WorkerContext, writer: UnledWriter, arguments: Arguments) -> None:
    name = _module(arguments)
    if name not in manager.catalogue and not arguments.get("force"):
        raise NotFoundError(f"mgr.{manager.id} has no module '{name}'; --force enables it anyway")
    await writer.put(manager.keys.module(name), encode(Switch(enabled=True)))


async def _disable(manager: WorkerContext, writer: UnledWriter, arguments: Arguments) -> None:
    name = _module(arguments)
    found = manager.catalogue.get(name)
    if found is not None and found.always_on:
        raise InvalidArgumentError(
            f"module '{name}' is always on: 'mgr module force disable {name}' disables it"
        )
    await writer.put(manager.keys.module(name), encode(Switch(enabled=False)))


async def _force_disable(manager: WorkerContext, writer: UnledWriter, arguments: Arguments) -> None:
    name = _module(arguments)
    if not arguments.get("yes_i_really_mean_it"):
        raise InvalidArgumentError(
            f"module '{name}' may be always on: --yes-i-really-mean-it disables it anyway"
        )
    await writer.put(manager.keys.module(name), encode(Switch(forced_off=True)))


async def _quarantine(manager: WorkerContext, writer: UnledWriter, arguments: Arguments) -> None:
    record = Quarantine(since=timestamp())
    await writer.commit([quarantine_operation(manager.keys, _module(arguments), record)])


async def _release(manager: WorkerContext, writer: UnledWriter, arguments: Arguments) -> None:
    await writer.commit(release_operations(manager.keys, _module(arguments)))


async def _config_set(manager: WorkerContext, writer: UnledWriter, arguments: Arguments) -> None:
    put = manager.config.prepare(
        arguments["who"], arguments["name"], arguments["value"], force=bool(arguments.get("force"))
    )
    history = ConfigHistory(manager.keys, manager.mirror, writer)
    await history.commit([put], STORED, by=writer.author)


async def _config_rm(manager: WorkerContext, writer: UnledWriter, arguments: Arguments) -> None:
    sections_of(arguments["who"])
    key = manager.keys.option(arguments["who"], arguments["name"])
    history = ConfigHistory(manager.keys, manager.mirror, writer)
    await history.commit([Delete(key)], STORED, by=writer.author)


def _module(arguments: Arguments) -> str:
    name: str = arguments["module"]
    if not NAME.fullmatch(name):
        raise InvalidArgumentError(f"'{name}' cannot be the name of a module")
    return name


@dataclass(frozen=True, slots=True)
class UnledCommand:
    """A command that any manager executes while none leads."""

    signature: Signature
    handler: Handler


_HANDLERS: Final[Mapping[str, Handler]] = {
    "mgr set down": _set_down,
    "mgr module enable": _enable,
    "mgr module disable": _disable,
    "mgr module force disable": _force_disable,
    "mgr module quarantine": _quarantine,
    "mgr module release": _release,
    "config set": _config_set,
    "config rm": _config_rm,
}
COMMANDS: Final[Mapping[str, UnledCommand]] = {
    prefix: UnledCommand(Signature.parse(f"{prefix} {arguments}"), _HANDLERS[prefix])
    for prefix, arguments in UNLED_COMMANDS.items()
}
"""The commands by prefix. Each must be idempotent: a client repeats one whose answer was lost."""


async def execute_unled(manager: WorkerContext, request: Any) -> UnledAnswer | None:
    """Execute ``request`` if it is in ``COMMANDS`` and there is no active; None otherwise.

    Raises:
        NotAuthorizedError: The caller is not authorized.
        InvalidArgumentError: An argument is missing, surplus or invalid.
        StoreUnavailableError: The store did not answer; retry.

    """
    command = _find(request.words)
    if command is None or manager.view.leader() is not None:
        return None
    arguments = match(request.words, request.arguments or {}, command.signature)
    prefix, caller = command.signature.prefix, request.caller
    manager.view.access.check(caller, AccessRequest(prefix, "rw", arguments=arguments))
    note = _note(manager, request, prefix, arguments)
    writer = UnledWriter(manager, note)
    try:
        await command.handler(manager, writer, arguments)
    except LeaderExistsError:
        return None
    except (InvalidArgumentError, NotFoundError, ConflictError) as error:
        return UnledAnswer(-error.errno, stderr=str(error))
    fields = {"command": prefix, "arguments": note.arguments, "client": note.who or note.address}
    log.warning("executed a command without an active", extra=fields)
    return UnledAnswer()


def _find(words: Sequence[str]) -> UnledCommand | None:
    for count in range(min(len(words), 4), 0, -1):
        if command := COMMANDS.get(" ".join(words[:count])):
            return command
    return None


def _note(manager: WorkerContext, request: Any, prefix: str, arguments: Arguments) -> AuditRecord:
    """Return the audit's record of ``request``; the next active gives it its number."""
    caller: Caller = request.caller
    return AuditRecord(
        term=0,
        sequence=0,
        at=timestamp(),
        manager=manager.id,
        command=prefix,
        outcome="ok",
        who=author_of(caller),
        kind=kind_of(caller),
        address=caller.address,
        arguments=shown_arguments(prefix, arguments, manager.config.is_secret),
        request_id=request.request_id,
        retval=0,
        unled=True,
    )

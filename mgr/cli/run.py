"""Runs an invocation of ``mgrctl``: sends a command, polls it or follows the log. Imports grpc."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mgr.argument.tell import daemon_command_arguments, resolve_target
from mgr.cli import output
from mgr.cli.command_cache import CachedCommand, CommandTable, load, save, touch
from mgr.client.async_client import AsyncClient
from mgr.client.messages import Answer, LinesDropped, LogLine, Status
from mgr.clock import CLOCK
from mgr.errors import InvalidArgumentError, UnreachableError
from mgr.tls import Tls

FETCH_S: Final = 1.0
"""How long completion waits for the table: the user is typing meanwhile."""
PAST_LINES: Final = 10
WITHOUT_ACTIVE: Final = (
    ("mgr", "set", "down"),
    ("mgr", "module", "enable"),
    ("mgr", "module", "disable"),
    ("mgr", "module", "force", "disable"),
    ("config", "set"),
    ("config", "rm"),
)
"""The commands that every manager executes while none leads (``standby/commands.py``)."""
FIND_ACTIVE_S: Final = 1.0
"""How long such a command looks for an active before it is offered to any manager."""
STATUS: Final = ("status",)
"""The command that prints the state of each manager while none leads."""
ETCD_SILENT_S: Final = 3.0
"""Without an answer from etcd for so long, that is the reason why a manager does not lead."""
TAGS: Final = {
    "debug": "DBG",
    "info": "INF",
    "security": "SEC",
    "warning": "WRN",
    "error": "ERR",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Invocation:
    """A parsed command line."""

    words: tuple[str, ...]
    hosts: str
    table: Path
    tls: Tls | None = None
    format: str = ""
    in_file: str | None = None
    out_file: str | None = None
    period_s: float = 1.0
    timeout_s: float = 10.0
    verbose: bool = False


def execute(invocation: Invocation) -> int:
    """Run one command; return the exit status.

    Raises:
        MgrError: Nothing ran, or the outcome is unknown.

    """
    return asyncio.run(_execute(invocation))


def explain(invocation: Invocation) -> int:
    """Print the commands that begin with the given words; return the exit status.

    Raises:
        UnknownCommandError: No command begins with them; the message names the closest ones.

    """
    table = asyncio.run(
        _fetch(invocation.hosts, invocation.table, invocation.timeout_s, invocation.tls)
    )
    asked = invocation.words
    found = [pair for pair in table.visible() if pair[0].words[: len(asked)] == asked]
    if not found:
        table.find(asked, {})
    output.commands(found)
    return 0


def watch(invocation: Invocation, *, lowest: str, channel: str) -> int:
    """Print the cluster log until interrupted."""
    return asyncio.run(_watch(invocation, lowest, channel))


def fetch(hosts: str, file: Path, tls: Tls | None) -> CommandTable:
    """Fetch the table of commands for completion, within ``FETCH_S``.

    Raises:
        MgrError: No manager answered in time.

    """
    return asyncio.run(_fetch(hosts, file, FETCH_S, tls))


async def _fetch(hosts: str, file: Path, timeout_s: float, tls: Tls | None) -> CommandTable:
    async with AsyncClient(hosts, timeout_s=timeout_s, tls=tls) as client:
        return await _table(client, file)


async def _table(client: AsyncClient, file: Path) -> CommandTable:
    known = load(file)
    commands, etag = await client.describe(etag=known.etag)
    if commands is None:
        touch(file)
        return known
    table = CommandTable(
        etag=etag,
        commands=tuple(
            CachedCommand(
                signature=each.signature,
                help=each.help,
                perm=each.perm,
                poll=each.poll,
                module=each.module,
                hidden=each.hidden,
            )
            for each in commands
        ),
    )
    save(file, table)
    return table


async def _execute(invocation: Invocation) -> int:
    data = _input(invocation.in_file)
    arguments: dict[str, Any] = {"format": invocation.format} if invocation.format else {}
    async with AsyncClient(
        invocation.hosts, timeout_s=invocation.timeout_s, tls=invocation.tls
    ) as client:
        try:
            if _needs_no_active(invocation.words):
                answer = await _execute_unled(client, invocation, arguments)
                return _print_answer(answer, invocation)
            table = await _table(client, invocation.table)
        except UnreachableError as error:
            found = await client.statuses()
            if invocation.words == STATUS and any(
                isinstance(each, Status) for each in found.values()
            ):
                output.statuses(found, invocation.format)
                return output.failure(error, invocation.format)
            raise _explain_unreachable(found, error) from None
        # Of ``tell`` to a daemon only the form is checked here: the manager checks the target, and
        # the daemon its command.
        if tell_arguments := daemon_command_arguments(invocation.words, arguments):
            entry = table.find(("tell",), tell_arguments)
        else:
            entry = table.find(resolve_target(invocation.words, "")[1], arguments)
        if entry.poll:
            return await _poll(client, invocation, arguments, data)
        begun_s = CLOCK.now()
        answer = await client.execute(invocation.words, arguments, data=data)
        if invocation.verbose:
            took_ms = (CLOCK.now() - begun_s) * 1e3
            sys.stderr.write(f"mgrctl: answered in term {answer.term} after {took_ms:.1f} ms\n")
        return _print_answer(answer, invocation)


def _needs_no_active(words: tuple[str, ...]) -> bool:
    return any(words[: len(command)] == command for command in WITHOUT_ACTIVE)


async def _execute_unled(
    client: AsyncClient, invocation: Invocation, arguments: dict[str, Any]
) -> Answer:
    """Send a command of ``WITHOUT_ACTIVE`` to the active; if there is none, to any manager."""
    find_s = min(FIND_ACTIVE_S, invocation.timeout_s / 2)
    try:
        etag = load(invocation.table).etag
        await client.describe(etag=etag, timeout_s=find_s)
        return await client.execute(
            invocation.words, arguments, timeout_s=max(invocation.timeout_s - find_s, find_s)
        )
    except UnreachableError:
        # Nothing ran: no active was found, or it was lost before it took the command.
        return await client.execute_anywhere(invocation.words, arguments)


async def _poll(
    client: AsyncClient, invocation: Invocation, arguments: dict[str, Any], data: bytes
) -> int:
    """Repeat the command as Ceph's client does, until it fails or the user interrupts it."""
    size = shutil.get_terminal_size()
    arguments |= {
        "poll": True,
        "width": size.columns,
        "session_id": str(uuid.uuid4()),
        "period": invocation.period_s,
    }
    header_every = max(size.lines - 3, 1)
    count = 0
    while True:
        arguments["print_header"] = count % header_every == 0
        answer = await client.execute(invocation.words, arguments, data=data)
        status = _print_answer(answer, invocation)
        if status or invocation.period_s <= 0:
            return status
        count += 1
        await asyncio.sleep(invocation.period_s)


async def _watch(invocation: Invocation, lowest: str, channel: str) -> int:
    async with AsyncClient(
        invocation.hosts, timeout_s=invocation.timeout_s, tls=invocation.tls
    ) as client:
        async for event in client.follow_log(
            past=PAST_LINES, lowest=lowest, channel=channel, find_s=invocation.timeout_s
        ):
            sys.stdout.write(_line(event, invocation.format) + "\n")
            sys.stdout.flush()
    return 0


def _line(event: LogLine | LinesDropped, form: str) -> str:
    if form.startswith("json"):
        if isinstance(event, LinesDropped):
            return json.dumps({"missing": event.count})
        return json.dumps(
            {
                "stamp": event.at.isoformat(),
                "name": event.name,
                "channel": event.channel,
                "priority": event.priority,
                "message": event.message,
                "term": event.term,
                "seq": event.sequence,
            }
        )
    if isinstance(event, LinesDropped):
        return f"... {event.count} lines dropped: this reader was too slow"
    return f"{event.at.isoformat()} {event.name} [{TAGS[event.priority]}] {event.message}"


def _print_answer(answer: Answer, invocation: Invocation) -> int:
    if answer.retval < 0:
        return output.refusal(answer.retval, answer.stderr, invocation.format)
    # A positive number is success, as in Ceph's client: a few modules return one by mistake.
    output.answer(answer.stdout, answer.stderr, invocation.out_file)
    return 0


def _explain_unreachable(
    found: Mapping[str, Status | str], error: UnreachableError
) -> UnreachableError:
    """Return ``error`` with the managers' reasons why they do not lead."""
    answered = [status for status in found.values() if isinstance(status, Status)]
    if not answered:
        return UnreachableError(f"{error}; name the managers with --mgr or MGR_HOSTS")
    notes = {
        f"mgr.{status.name}": why for status in answered if (why := _reason_not_leading(status))
    }
    return UnreachableError(str(error), failures=notes) if notes else error


def _reason_not_leading(status: Status) -> str:
    """Return why a manager does not lead; empty if it gives no reason."""
    if status.view_age_s is not None and status.view_age_s > ETCD_SILENT_S:
        no_etcd = f"no answer from etcd for {status.view_age_s:.0f} s"
        return f"{status.note}, {no_etcd}" if status.note else no_etcd
    return status.note


def _input(file: str | None) -> bytes:
    if file is None:
        return b""
    try:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise InvalidArgumentError(f"cannot read {file}: {error.strerror}") from None

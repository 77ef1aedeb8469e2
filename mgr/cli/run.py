"""What ``mgrctl`` does once it knows what is wanted: ask, repeat, follow. Imports grpc."""

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

from mgr.argument.tell import meant, to_daemon
from mgr.cli import output
from mgr.cli.command_cache import Entry, Table, keep, load, touch
from mgr.client.async_client import AsyncClient
from mgr.client.messages import Answer, Line, Missing, Status
from mgr.clock import CLOCK
from mgr.errors import InvalidArgumentError, UnreachableError
from mgr.tls import Tls

FETCH_S: Final = 1.0
"""Completion waits no longer for a table than a person at a prompt does."""
PAST_LINES: Final = 10
WITHOUT_ACTIVE: Final = ("mgr", "set", "down")
"""What standbys answer, too, while nobody leads."""
STATUS: Final = ("status",)
"""What every manager has an answer to: each says how it stands while nobody leads."""
ETCD_SILENT_S: Final = 3.0
"""A manager that has not heard of etcd for so long has a reason not to lead."""
TAGS: Final = {
    "debug": "DBG",
    "info": "INF",
    "security": "SEC",
    "warning": "WRN",
    "error": "ERR",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """What was typed, read."""

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


def execute(wish: Wish) -> int:
    """Run one command; return the exit status.

    Raises:
        MgrError: Nothing ran, or the outcome is unknown.

    """
    return asyncio.run(_execute(wish))


def explain(wish: Wish) -> int:
    """Print the commands that begin with the words, all without any; return the exit status.

    Raises:
        UnknownCommandError: None begins so; the message names the closest ones.

    """
    table = asyncio.run(_fetched(wish.hosts, wish.table, wish.timeout_s, wish.tls))
    asked = wish.words
    found = [pair for pair in table.shown() if pair[0].words[: len(asked)] == asked]
    if not found:
        table.found(asked, {})
    output.commands(found)
    return 0


def watch(wish: Wish, *, lowest: str, channel: str) -> int:
    """Print the cluster log until interrupted."""
    return asyncio.run(_watch(wish, lowest, channel))


def fetch(hosts: str, file: Path, tls: Tls | None) -> Table:
    """Ask for the commands there are, quickly or not at all; for completion.

    Raises:
        MgrError: Nobody answered in time.

    """
    return asyncio.run(_fetched(hosts, file, FETCH_S, tls))


async def _fetched(hosts: str, file: Path, timeout_s: float, tls: Tls | None) -> Table:
    async with AsyncClient(hosts, timeout_s=timeout_s, tls=tls) as client:
        return await _table(client, file)


async def _table(client: AsyncClient, file: Path) -> Table:
    known = load(file)
    commands, etag = await client.describe(etag=known.etag)
    if commands is None:
        touch(file)
        return known
    table = Table(
        etag=etag,
        commands=tuple(
            Entry(
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
    keep(file, table)
    return table


async def _execute(wish: Wish) -> int:
    data = _input(wish.in_file)
    arguments: dict[str, Any] = {"format": wish.format} if wish.format else {}
    async with AsyncClient(wish.hosts, timeout_s=wish.timeout_s, tls=wish.tls) as client:
        if wish.words[: len(WITHOUT_ACTIVE)] == WITHOUT_ACTIVE:
            return _printed(await client.execute_anywhere(wish.words, arguments), wish)
        try:
            table = await _table(client, wish.table)
        except UnreachableError as error:
            found = await client.statuses()
            if wish.words == STATUS and any(isinstance(each, Status) for each in found.values()):
                output.statuses(found, wish.format)
                return output.failure(error, wish.format)
            raise _explained(found, error) from None
        # Who is told is the manager's to judge, and what a daemon is told is the daemon's.
        if told := to_daemon(wish.words, arguments):
            entry = table.found(("tell",), told)
        else:
            entry = table.found(meant(wish.words, "")[1], arguments)
        if entry.poll:
            return await _poll(client, wish, arguments, data)
        begun_s = CLOCK.now()
        answer = await client.execute(wish.words, arguments, data=data)
        if wish.verbose:
            took_ms = (CLOCK.now() - begun_s) * 1e3
            sys.stderr.write(f"mgrctl: answered in term {answer.term} after {took_ms:.1f} ms\n")
        return _printed(answer, wish)


async def _poll(client: AsyncClient, wish: Wish, arguments: dict[str, Any], data: bytes) -> int:
    """Repeat the command as Ceph's client does, until it says no or the user does."""
    size = shutil.get_terminal_size()
    arguments |= {
        "poll": True,
        "width": size.columns,
        "session_id": str(uuid.uuid4()),
        "period": wish.period_s,
    }
    header_every = max(size.lines - 3, 1)
    count = 0
    while True:
        arguments["print_header"] = count % header_every == 0
        answer = await client.execute(wish.words, arguments, data=data)
        status = _printed(answer, wish)
        if status or wish.period_s <= 0:
            return status
        count += 1
        await asyncio.sleep(wish.period_s)


async def _watch(wish: Wish, lowest: str, channel: str) -> int:
    async with AsyncClient(wish.hosts, timeout_s=wish.timeout_s, tls=wish.tls) as client:
        async for event in client.follow_log(
            past=PAST_LINES, lowest=lowest, channel=channel, find_s=wish.timeout_s
        ):
            sys.stdout.write(_line(event, wish.format) + "\n")
            sys.stdout.flush()
    return 0


def _line(event: Line | Missing, form: str) -> str:
    if form.startswith("json"):
        if isinstance(event, Missing):
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
    if isinstance(event, Missing):
        return f"... {event.count} lines are missing: this reader was too slow"
    return f"{event.at.isoformat()} {event.name} [{TAGS[event.priority]}] {event.message}"


def _printed(answer: Answer, wish: Wish) -> int:
    if answer.retval < 0:
        return output.refusal(answer.retval, answer.stderr, wish.format)
    # A positive number is success: a few modules return one by mistake, and Ceph's own client
    # takes it so.
    output.answer(answer.stdout, answer.stderr, wish.out_file)
    return 0


def _explained(found: Mapping[str, Status | str], error: UnreachableError) -> UnreachableError:
    """``error``, and what managers say of why they do not lead."""
    answered = [status for status in found.values() if isinstance(status, Status)]
    if not answered:
        return UnreachableError(f"{error}; name the managers with --mgr or MGR_HOSTS")
    notes = {f"mgr.{status.name}": why for status in answered if (why := _why(status))}
    return UnreachableError(str(error), failures=notes) if notes else error


def _why(status: Status) -> str:
    """Why a manager does not lead, as far as it knows."""
    if status.view_age_s is not None and status.view_age_s > ETCD_SILENT_S:
        silent = f"has not heard of etcd for {status.view_age_s:.0f} s"
        return f"{status.note}, {silent}" if status.note else silent
    return status.note


def _input(file: str | None) -> bytes:
    if file is None:
        return b""
    try:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise InvalidArgumentError(f"cannot read {file}: {error.strerror}") from None

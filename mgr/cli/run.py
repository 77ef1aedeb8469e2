"""Runs an invocation of ``mgrctl``: sends a command, polls it or follows the log. Imports grpc."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import sys
import uuid
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any, Final

from mgr.argument.tell import daemon_command_arguments, resolve_target
from mgr.argument.unled import UNLED_COMMANDS
from mgr.cli import audit_follower, output, query, without_active
from mgr.cli.audit_follower import AuditFollower
from mgr.cli.command_cache import CachedCommand, CommandTable, load, save, touch
from mgr.cli.invocation import Invocation
from mgr.cli.trace import traced
from mgr.client.async_client import AsyncClient
from mgr.client.messages import Answer, LinesDropped, LogLine, Status
from mgr.clock import CLOCK
from mgr.errors import InvalidArgumentError, MgrError, UnreachableError
from mgr.tls import Tls

AUDIT_LS: Final = ("audit", "ls")
AUDIT_FOLLOW: Final = ("audit", "follow")
FETCH_S: Final = 1.0
"""How long completion waits for the table: the user is typing meanwhile."""
PAST_LINES: Final = 0
"""Past lines with which ``-w`` begins: none, as with Ceph's client. ``log last`` has them."""
WITHOUT_ACTIVE: Final = tuple(tuple(prefix.split()) for prefix in UNLED_COMMANDS)
"""The commands that every manager executes while none leads, as words."""
FIND_ACTIVE_S: Final = 1.0
"""How long such a command looks for an active before it is offered to any manager."""
ACTIVE_WAIT_S: Final = 0.7
"""How long ``status`` and ``health`` wait for the active before they ask all managers."""
STATES_S: Final = 0.4
"""How long each manager may take to report its state."""
REASONS_S: Final = 1.0
"""The same after a command has failed."""
FOLLOW_STATES_EVERY_S: Final = 2.0
"""How often ``-w`` asks the managers whether one leads."""
TAGS: Final = {
    "debug": "DBG",
    "info": "INF",
    "security": "SEC",
    "warning": "WRN",
    "error": "ERR",
}


def execute(invocation: Invocation) -> int:
    """Run one command; return the exit status.

    Raises:
        MgrError: Nothing ran, or the outcome is unknown.

    """
    if invocation.watch:
        from mgr.cli import watch  # noqa: PLC0415 - few calls need it

        return asyncio.run(watch.run(invocation))
    follows = invocation.words[: len(AUDIT_FOLLOW)] == AUDIT_FOLLOW
    with traced(os.environ):
        return asyncio.run((_follow_audit if follows else _execute)(invocation))


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


def document(hosts: str, words: tuple[str, ...], tls: Tls | None) -> Any:
    """Run a command that only reads, for completion; return its JSON, None without an answer."""
    return asyncio.run(_document(hosts, words, tls))


async def _document(hosts: str, words: tuple[str, ...], tls: Tls | None) -> Any:
    # An error would be printed into the line that the user is typing.
    with contextlib.suppress(MgrError, ValueError):
        async with AsyncClient(hosts, timeout_s=FETCH_S, tls=tls) as client:
            answer = await client.execute(words, {"format": "json"}, changes=False)
            return json.loads(answer.stdout) if answer.retval >= 0 else None
    return None


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
    async with AsyncClient(
        invocation.hosts, timeout_s=invocation.timeout_s, tls=invocation.tls
    ) as client:
        try:
            if _needs_no_active(invocation.words):
                answer = await _execute_unled(client, invocation, arguments_of(invocation))
                return _print_answer(answer, invocation)
            if without_active.has_answer(invocation.words):
                return await _answer_or_states(client, invocation)
            return await _ask_active(client, invocation, data)
        except UnreachableError as error:
            found = await client.statuses(timeout_s=min(invocation.timeout_s, REASONS_S))
            if without_active.has_answer(invocation.words) and without_active.answered(found):
                _show_states(found, invocation)
                return output.failure(error, invocation.format)
            raise _explain_unreachable(found, error, named=invocation.named) from None


def arguments_of(invocation: Invocation) -> dict[str, Any]:
    """Return the arguments that the flags add to the words: the format."""
    form = "json" if invocation.query else invocation.format
    return {"format": form} if form else {}


async def _answer_or_states(client: AsyncClient, invocation: Invocation) -> int:
    """Run ``status`` or ``health``; print what the managers say once all say that none leads."""
    shown = 0
    async with asyncio.TaskGroup() as tasks:
        asked = tasks.create_task(_outcome(_ask_active(client, invocation, b"")))
        while not await _done(asked, ACTIVE_WAIT_S):
            found = await client.statuses(timeout_s=STATES_S)
            if not asked.done() and without_active.nobody_leads(found):
                _show_states(found, invocation)
                error = UnreachableError(without_active.summary(found))
                shown = output.failure(error, invocation.format)
                asked.cancel()
                break
    if asked.cancelled():
        return shown
    if isinstance(outcome := asked.result(), Exception):
        raise outcome
    return outcome


async def _outcome(work: Coroutine[Any, Any, int]) -> int | Exception:
    # Raised in a task, an error would be wrapped in the group's.
    try:
        return await work
    except (MgrError, OSError) as error:
        return error


async def _done(task: asyncio.Task[Any], within_s: float) -> bool:
    return bool((await asyncio.wait({task}, timeout=within_s))[0])


async def _ask_active(client: AsyncClient, invocation: Invocation, data: bytes) -> int:
    """Send the command to the active, and print its answer."""
    arguments = arguments_of(invocation)
    entry = await check_words(client, invocation)
    if entry.poll:
        return await _poll(client, invocation, arguments, data)
    begun_s = CLOCK.now()
    answer = await client.execute(invocation.words, arguments, data=data, changes="w" in entry.perm)
    if invocation.verbose:
        took_ms = (CLOCK.now() - begun_s) * 1e3
        sys.stderr.write(f"mgrctl: answered in term {answer.term} after {took_ms:.1f} ms\n")
    return _print_answer(answer, invocation)


async def check_words(client: AsyncClient, invocation: Invocation) -> CachedCommand:
    """Return the command that takes the words.

    Raises:
        UnknownCommandError: There is none; the message names the closest ones.
        InvalidArgumentError: The words fit a command, the values do not.

    """
    arguments = arguments_of(invocation)
    table = await _table(client, invocation.table)
    # Of ``tell`` to a daemon only the form is checked here: the manager checks the target, and
    # the daemon its command.
    if tell_arguments := daemon_command_arguments(invocation.words, arguments):
        return table.find(("tell",), tell_arguments)
    return table.find(resolve_target(invocation.words, "")[1], arguments)


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
    async with (
        AsyncClient(invocation.hosts, timeout_s=invocation.timeout_s, tls=invocation.tls) as client,
        asyncio.TaskGroup() as tasks,
    ):
        states = tasks.create_task(_tell_states(client))
        outcome = await _outcome(_print_lines(client, invocation, lowest, channel))
        states.cancel()
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


async def _print_lines(
    client: AsyncClient, invocation: Invocation, lowest: str, channel: str
) -> int:
    async for event in client.follow_log(
        past=PAST_LINES, lowest=lowest, channel=channel, find_s=invocation.timeout_s
    ):
        output.write(_line(event, invocation.format).encode(errors="replace") + b"\n")
    return 0


async def _tell_states(client: AsyncClient) -> None:
    """Print to stderr that no manager leads, and why, whenever that changes; never returns.

    A suspended active sends no lines of its log, so the reason cannot come from there.
    """
    said = ""
    while True:
        await asyncio.sleep(FOLLOW_STATES_EVERY_S)
        found = await client.statuses(timeout_s=REASONS_S)
        text = (
            without_active.summary(found, ages=False) if without_active.nobody_leads(found) else ""
        )
        if text != said and (text or without_active.answered(found)):
            said = text
            output.to_stderr(f"mgrctl: {text or 'a manager leads again'}\n")


async def _follow_audit(invocation: Invocation) -> int:
    """Print the last records of the audit and each new one, until interrupted."""
    filters = invocation.words[len(AUDIT_FOLLOW) :]
    follower, count = AuditFollower(), audit_follower.PAST
    async with AsyncClient(
        invocation.hosts, timeout_s=invocation.timeout_s, tls=invocation.tls
    ) as client:
        words = (*AUDIT_LS, str(count), *filters)
        while True:
            # Records have the same order under every active, so a failover loses none.
            answer = await client.execute(words, {"format": "json"}, changes=False)
            if answer.retval < 0:
                return output.refusal(answer.retval, answer.stderr, invocation.format)
            for record in follower.take(json.loads(answer.stdout), CLOCK.now()):
                shown = (
                    json.dumps(record) if invocation.format.startswith("json") else record["text"]
                )
                output.write(f"{shown}\n".encode(errors="replace"))
            await asyncio.sleep(audit_follower.EVERY_S)
            count = audit_follower.AT_ONCE
            words = (*AUDIT_LS, str(count), *filters, f"--after={follower.after}")


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
    data = query.apply(invocation.query, answer.stdout) if invocation.query else answer.stdout
    remarks = "" if invocation.quiet else answer.stderr
    output.answer(data, remarks, invocation.out_file)
    return 0


def _show_states(found: Mapping[str, Status | str], invocation: Invocation) -> None:
    form = "json" if invocation.query else invocation.format
    data = without_active.text(invocation.words, found, form).encode()
    output.write(query.apply(invocation.query, data) if invocation.query else data)


def _explain_unreachable(
    found: Mapping[str, Status | str], error: UnreachableError, *, named: bool
) -> UnreachableError:
    """Return ``error`` with the managers' reasons why they do not lead.

    ``named``: the user named the managers, and needs no hint to do so.
    """
    if not without_active.answered(found):
        hint = "" if named else "; name the managers with --mgr or MGR_HOSTS"
        if named and len(error.failures) == 1:
            hint = "; name the other managers, too (--mgr, MGR_HOSTS, hosts in config.toml)"
        return UnreachableError(f"{error}{hint}")
    notes = without_active.reasons(found)
    return UnreachableError(str(error), failures=notes) if notes else error


def _input(file: str | None) -> bytes:
    if file is None:
        return b""
    try:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise InvalidArgumentError(f"cannot read {file}: {error.strerror}") from None

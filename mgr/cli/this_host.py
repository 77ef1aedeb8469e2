"""Runs one command over the local socket, with neither asyncio nor grpc: a third of the CPU time.

It is used where the user names no managers. Whatever needs more (another manager leads, a command
that polls, one that is not known yet) is left to ``mgr.cli.run``.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mgr.cli import output
from mgr.cli.command_cache import CachedCommand, CommandTable, load, save
from mgr.cli.invocation import Invocation
from mgr.errors import InvalidArgumentError, NotActiveError, UnreachableError

if TYPE_CHECKING:
    from mgr.client.local_socket import LocalSocket

VARIABLE: Final = "MGR_UNIX_SOCKET"
FOLLOWS: Final = ("audit", "follow")
DEFAULT_PATH: Final = "/run/mgrd/mgrd.sock"
"""Where the systemd unit has the manager listen."""


def socket_of(environment: Mapping[str, str]) -> str:
    """Return the path of the socket of a manager on this host; empty if there is none."""
    found = environment.get(VARIABLE, DEFAULT_PATH)
    return found if found and Path(found).is_socket() else ""


def execute(invocation: Invocation, environment: Mapping[str, str]) -> int | None:
    """Run a plain command and print its answer; return the exit status, None if it did not run.

    Raises:
        MgrError: It was refused, or its outcome is unknown.

    """
    asks_more = (
        invocation.named
        or invocation.watch
        or invocation.verbose
        or bool(invocation.in_file or invocation.out_file or invocation.query)
        # Following the audit needs a connection that stays open: the general way has it.
        or invocation.words[: len(FOLLOWS)] == FOLLOWS
    )
    path = "" if asks_more else socket_of(environment)
    if not path:
        return None
    # Imported here: help and completion need no protobuf.
    from mgr.client.local_socket import LocalSocket, NoAnswerError  # noqa: PLC0415

    with contextlib.closing(LocalSocket(path)) as manager:
        try:
            return _execute(manager, invocation)
        except NoAnswerError as failed:
            if not isinstance(failed.error, UnreachableError):
                raise failed.error from None
        except (NotActiveError, InvalidArgumentError, UnicodeEncodeError):
            pass  # the general way finds the active, or says what is wrong with the words
    return None


def _execute(manager: LocalSocket, invocation: Invocation) -> int | None:
    from mgr.client.local_socket import NoAnswerError  # noqa: PLC0415 - as above
    from mgr.rpc.v1.command_pb2 import ExecuteRequest, Value  # noqa: PLC0415

    entry = _find(_table(manager, invocation).commands, invocation.words)
    if entry is None or entry.poll:
        return None
    changes, form = "w" in entry.perm, invocation.format
    request = ExecuteRequest(
        words=invocation.words,
        arguments={"format": Value(text=form)} if form else {},
        request_id=uuid.uuid4().hex if changes else "",
    )
    try:
        answer = manager.execute(request, timeout_s=invocation.timeout_s)
    except NoAnswerError:
        if changes:
            raise
        return None
    if answer.retval < 0:
        return output.refusal(answer.retval, answer.stderr, form)
    output.answer(answer.stdout, "" if invocation.quiet else answer.stderr, None)
    return 0


def _table(manager: LocalSocket, invocation: Invocation) -> CommandTable:
    """Return the cached commands, of which only the kind counts here; fetch them if there are none.

    The manager checks the words itself.
    """
    table = load(invocation.table)
    if not table.commands:
        found = manager.describe("", timeout_s=invocation.timeout_s)
        commands = (
            CachedCommand(each.signature, each.help, each.perm, each.poll, each.module, each.hidden)
            for each in found.commands
        )
        table = CommandTable(found.etag, tuple(commands))
        save(invocation.table, table)
    return table


def _find(commands: Sequence[CachedCommand], words: Sequence[str]) -> CachedCommand | None:
    """Return the command that ``words`` begin with; the longest prefix wins."""
    found: CachedCommand | None = None
    longest = 0
    for entry in commands:
        # In the descriptor language a word is literal unless it has a "=".
        prefix = list(takewhile(lambda word: "=" not in word, entry.signature.split()))
        if len(prefix) > longest and list(words[: len(prefix)]) == prefix:
            found, longest = entry, len(prefix)
    return found

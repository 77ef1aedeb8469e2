"""Writes ``docs/reference/access.md``: who may make which call."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from itertools import groupby

from mgr.access.caps import AccessRequest
from mgr.access.roles import BUILTIN_ROLES
from mgr.command.registry import Command
from mgr.http.app import RULES as PAGES
from mgr.rpc.limits import OURS
from mgr.rpc.local_server import SERVED
from modules.dashboard.actions import ACTIONS
from modules.dashboard.pages import PAGES as DASHBOARD
from tests.support.callers import (
    CAPS,
    DAEMON,
    NOT_CONNECTED,
    OWN,
    REPORT,
    calls,
    http_statuses,
    may,
)

CALLERS = (*NOT_CONNECTED, *CAPS)
HEAD = f"""\
# Access: who may do what

Which caller may make which call, in a cluster that demands authentication. Written by `make docs`
from the tables of the code; `tests/integration/rpc/test_access_table.py` tries every gRPC call as
every caller. How to give capabilities is in [authorization](../how-to/authorization.md).

The callers: a client without a certificate, one with a certificate of another CA, one whose
certificate has expired (TLS lets none of these three in); then clients with a certificate of the
cluster's CA: one that has no entry, one with the role `viewer`, a daemon (`{DAEMON}`, with
`profile daemon`), one with the role `operator`, one with the role `admin`.

A client with a token and no certificate (`token_listen`) has what its entry `token:NAME` gives, and
without a valid token it may do nothing.

At the address for joining (`join_listen`) nothing but `Join` is served, to whoever reaches it; each
call needs a join token.

## Roles

| role | capabilities |
|---|---|
{"".join(f"| `{name}` | `{caps}` |{chr(10)}" for name, caps in BUILTIN_ROLES.items())}
## gRPC

"by command": each command of the call is checked by itself, see below. "own name": a daemon reports
under its own name only. Health checks and reflection of gRPC are open to all whom TLS lets in.

"""


HTTP_HEAD = """
## HTTP

HTTP asks for a certificate and demands none. A token is sent as `Authorization: Bearer <token>`.
Without either, or with one that is not valid, a page is answered 401; without the capability, 403.

"""


LOCAL_HEAD = """
## The local socket

Who may connect is decided by the mode of `unix_socket`, and what for by the entry `uid:<number>` of
the user that a program runs as, root included. Nothing but these calls is served.

"""

DASHBOARD_HEAD = """
## The dashboard

A person signs in with a token. A page is shown to who may run its command, and a button runs its
command with the rights of who pressed it; `/sign-in`, `/sign-out`, `/static` and `/where` are open.
`/live` before a page is the same page as it changes. `/console/run` runs a line with the rights of
who typed it, and `/console/complete` is for whoever signed in. `/continue` takes over what another
manager's page signed.

"""


def access(own_commands: list[Command], module_commands: list[Command]) -> str:
    """The page; ``own_commands`` are the commands of the manager."""
    return "".join(
        (
            HEAD,
            _header("call"),
            *(_row(f"`{call.name.rpartition('.')[2]}`", _calls(call)) for call in calls()),
            "\n## Commands of the manager, by permission\n\n",
            "A grant of one command, by its name, gives it whatever it needs.\n\n",
            *_commands(own_commands),
            HTTP_HEAD,
            _header("path", "answered"),
            *_pages(),
            LOCAL_HEAD,
            _header("call", callers=CAPS),
            *_local(),
            DASHBOARD_HEAD,
            _header("page, or button", "command", callers=("not signed in", *CAPS)),
            *_dashboard([*own_commands, *module_commands]),
        )
    )


def _local():
    served = set(SERVED.values())
    for call in calls():
        name = call.name.removeprefix(OURS)
        if name in served:
            served.remove(name)
            found = _calls(call)
            yield _row(f"`{name}`", {caller: found[caller] for caller in CAPS})
    assert not served


def _dashboard(commands: list[Command]):
    perms = {command.prefix: command.perm for command in commands}
    shown = [(f"`{page.path}`", page.needs) for page in DASHBOARD]
    pressed = [(f"button `{name}`", action.prefix) for name, action in ACTIONS.items()]
    for what, command in (*shown, *pressed):
        needed = AccessRequest(command, perms[command])
        allowed = {name: "yes" if may(name, needed) else "-" for name in CAPS}
        yield _row(what, {"not signed in": "-", **allowed}, f"`{command}`")


def _pages():
    found = {name: asyncio.run(http_statuses(name)) for name in CALLERS}
    for path, rule in PAGES.items():
        # 503 and 307 are answers to somebody who may see the page.
        words = {name: "-" if found[name][path] in {None, 401, 403} else "yes" for name in CALLERS}
        yield _row(f"`{path}`", words, rule)


def _calls(call) -> dict[str, str]:
    found = {}
    for name in CALLERS:
        word = "yes" if may(name, call.needs) else "-"
        if word == "yes" and call.name in OWN:
            word = OWN[call.name]
        if word == "yes" and call.name == REPORT and name == "daemon":
            word = "own name"
        found[name] = word
    return found


def _commands(own: list[Command]):
    yield _header("permission", "commands")
    by_perm = sorted(own, key=lambda command: (len(command.perm), command.perm))
    for perm, found in groupby(by_perm, key=lambda command: command.perm):
        names = ", ".join(f"`{command.prefix}`" for command in found if not command.hidden)
        # A command that no grant names: what counts is its permission.
        needed = AccessRequest("a command", perm)
        allowed = {name: "yes" if may(name, needed) else "-" for name in CALLERS}
        yield _row(f"`{perm}`" if perm else "none", allowed, names)


def _header(*first: str, callers: Iterable[str] = CALLERS) -> str:
    columns = (first[0], *callers, *first[1:])
    return f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}\n"


def _row(first: str, cells: dict[str, str], *last: str) -> str:
    return f"| {' | '.join((first, *cells.values(), *last))} |\n"

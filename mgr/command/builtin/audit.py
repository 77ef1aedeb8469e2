"""Commands ``audit``: what was changed or refused, by whom."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Final

import msgspec

from mgr.audit.record import OUTCOMES, AuditRecord, moment_of, place_of
from mgr.audit.ring import readable, stored_in
from mgr.clock import utc_now
from mgr.command.builtin.call import BuiltinCommand, Call, Reply, builtin
from mgr.command.builtin.context import BuiltinContext
from mgr.config.option_types import OPTION_TYPES
from mgr.errors import InvalidArgumentError
from mgr.store.keys import Keys

READ_AUDIT: Final = "rx"
"""More than ``r``: arguments of commands may tell more than their author thought."""
SHOWN_DEFAULT: Final = 50
SHOWN_MAX: Final = 2000
READ_AT_ONCE: Final = 500
"""Records read before the event loop runs other tasks: about a millisecond."""

Filter = Callable[[AuditRecord], bool]


def commands(context: BuiltinContext) -> list[BuiltinCommand]:
    """Return the commands of this noun."""
    noun = _Audit(context)
    outcomes = "|".join(OUTCOMES)
    arguments = (
        f"name=num,type=CephInt,range=1|{SHOWN_MAX},req=false "
        "name=who,type=CephString,req=false,positional=false "
        "name=command,type=CephString,req=false,positional=false "
        "name=since,type=CephString,req=false,positional=false "
        f"name=outcome,type=CephChoices,strings={outcomes},req=false,positional=false "
        "name=after,type=CephString,req=false,positional=false"
    )
    return [
        builtin(
            f"audit ls {arguments}",
            "list what was changed or refused, by whom, oldest first",
            READ_AUDIT,
            noun.ls,
        ),
        builtin(
            f"audit follow {arguments}",
            "as audit ls; the client goes on with each new record",
            READ_AUDIT,
            noun.ls,
        ),
    ]


class _Audit:
    def __init__(self, context: BuiltinContext) -> None:
        self._context = context

    async def ls(self, call: Call) -> Reply:
        context, filters = self._context, list(_filters(call))
        after = _place(call)
        stored = stored_in(context.mirror, context.keys, after=after or "")
        # Whoever follows wants the oldest of what is new, everybody else the newest.
        oldest_first = after is not None
        count = call.get("num", SHOWN_DEFAULT)
        found: list[AuditRecord] = []
        for number, each in enumerate(stored if oldest_first else reversed(stored), 1):
            record = readable(each)
            if record is not None:
                record = self._settled(record)
                if all(matches(record) for matches in filters):
                    found.append(record)
            if len(found) == count:
                break
            if number % READ_AT_ONCE == 0:
                await asyncio.sleep(0)
        shown = found if oldest_first else found[::-1]
        return Reply(
            [record.document() for record in shown],
            plain="\n".join(record.line() for record in shown),
        )

    def _settled(self, record: AuditRecord) -> AuditRecord:
        # Its manager lost leadership while the command ran: nobody will record how it ended.
        if record.outcome == "started" and record.term < self._context.fenced.term:
            return msgspec.structs.replace(record, outcome="unknown")
        return record


def _filters(call: Call) -> Iterable[Filter]:
    if (who := call.get("who")) is not None:
        yield lambda record: who in {record.who, record.who.removeprefix("client."), record.address}
    if (command := call.get("command")) is not None:
        yield lambda record: _names(record, command)
    if (outcome := call.get("outcome")) is not None:
        yield lambda record: record.outcome == outcome
    if (since := call.get("since")) is not None:
        begin = _moment(since)
        yield lambda record: _not_before(record, begin)


def _place(call: Call) -> str | None:
    """Return the place after which records are wanted; None: any."""
    after = call.get("after")
    if after is None:
        return None
    try:
        return Keys.audit_place(*place_of(after))
    except ValueError:
        raise InvalidArgumentError(
            f"after: '{after[:64]}' is no id of a record, such as 42-7"
        ) from None


def _names(record: AuditRecord, command: str) -> bool:
    names = (record.command, *record.commands)
    return any(name == command or name.startswith(f"{command} ") for name in names)


def _not_before(record: AuditRecord, begin: datetime) -> bool:
    at = moment_of(record.last or record.at)
    return at is not None and at >= begin


def _moment(text: str) -> datetime:
    """Return the moment that ``text`` names: a time in ISO 8601, or how long ago (``2h``)."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        seconds = float(OPTION_TYPES["secs"].parse(text))
        try:
            return utc_now() - timedelta(seconds=seconds)
        except OverflowError:
            raise InvalidArgumentError(f"since: '{text[:64]}' is before all time") from None
    return found if found.tzinfo is not None else found.astimezone()

"""Commands ``audit``: what was changed or refused, by whom."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Final

import msgspec

from mgr.audit.record import OUTCOMES, AuditRecord, moment_of, place_of
from mgr.audit.ring import records_in
from mgr.clock import utc_now
from mgr.command.builtin.call import BuiltinCommand, Call, Reply, builtin
from mgr.command.builtin.context import BuiltinContext
from mgr.config.option_types import OPTION_TYPES
from mgr.errors import InvalidArgumentError

READ_AUDIT: Final = "rx"
"""More than ``r``: arguments of commands may tell more than their author thought."""
SHOWN_DEFAULT: Final = 50
SHOWN_MAX: Final = 10_000

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
        context = self._context
        filters = list(_filters(call))
        found = [
            record
            for record in map(self._settled, records_in(context.mirror, context.keys))
            if all(matches(record) for matches in filters)
        ]
        count = call.get("num", SHOWN_DEFAULT)
        # Whoever follows wants the oldest of what is new, everybody else the newest.
        shown = found[:count] if call.get("after") is not None else found[-count:]
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
    if (after := call.get("after")) is not None:
        try:
            place = place_of(after)
        except ValueError:
            raise InvalidArgumentError(
                f"after: '{after[:64]}' is no id of a record, such as 42-7"
            ) from None
        yield lambda record: (record.term, record.sequence) > place


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
        return utc_now() - timedelta(seconds=seconds)
    return found if found.tzinfo is not None else found.astimezone()

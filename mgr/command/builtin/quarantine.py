"""``mgr module quarantine`` and ``mgr module release``: holding a module back by hand."""

from __future__ import annotations

from mgr.clock import timestamp
from mgr.command.builtin.call import BuiltinCommand, Call, Reply, builtin
from mgr.command.builtin.context import BuiltinContext
from mgr.config.worker_deaths import (
    Quarantine,
    quarantine_operation,
    quarantine_reason,
    release_operations,
)
from mgr.config.worker_deaths import quarantine_reasons as all_stored
from mgr.errors import InvalidArgumentError
from mgr.store.keys import NAME

MODULE_ARG = "name=module,type=CephString"


def commands(context: BuiltinContext) -> list[BuiltinCommand]:
    """The two commands."""
    noun = _Quarantine(context)
    return [
        builtin(
            f"mgr module quarantine {MODULE_ARG}",
            "stop an mgr module on every manager and do not import it until it is released",
            "rw",
            noun.quarantine,
        ),
        builtin(
            f"mgr module release {MODULE_ARG}",
            "forget the deaths of workers that an mgr module caused, import it and let it run",
            "rw",
            noun.release,
        ),
    ]


def quarantine_reasons(context: BuiltinContext) -> dict[str, str]:
    """Every module that is quarantined, and why."""
    return all_stored(context.mirror, context.keys)


class _Quarantine:
    def __init__(self, context: BuiltinContext) -> None:
        self._context = context

    async def quarantine(self, call: Call) -> Reply:
        name, context = _name(call), self._context
        await self._settle(name)
        if why := quarantine_reason(context.mirror, context.keys, name):
            return Reply(note=f"module '{name}' is quarantined already: {why}")
        record = Quarantine(since=timestamp())
        await context.fenced.commit([quarantine_operation(context.keys, name, record)])
        return Reply(note=_unknown(context, name))

    async def release(self, call: Call) -> Reply:
        name, context = _name(call), self._context
        await self._settle(name)
        if not quarantine_reason(context.mirror, context.keys, name):
            return Reply(note=f"module '{name}' is not quarantined{_unknown(context, name)}")
        await context.fenced.commit(release_operations(context.keys, name))
        if name not in context.modules.modules():
            return Reply(note=f"module '{name}' is released; it is not on this manager")
        # It may have been quarantined since before it was imported here.
        try:
            done = await context.modules.reload(name)
        except InvalidArgumentError as error:
            return Reply(note=f"module '{name}' is released; {error}")
        # Standbys follow this record: they import nothing that this manager did not survive.
        await context.fenced.put(context.keys.reload(name), done.digest)
        return Reply(
            note=f"module '{name}' is released{'' if done.runs else '; it is not enabled'}"
        )

    async def _settle(self, name: str) -> None:
        # Before "already so" is said: an earlier write may be under way without an answer.
        keys = self._context.keys
        await self._context.fenced.read_settled((keys.quarantine(name),), (keys.deaths_of(name),))


def _name(call: Call) -> str:
    name: str = call["module"]
    if not NAME.fullmatch(name):
        raise InvalidArgumentError(f"'{name}' cannot be the name of a module")
    return name


def _unknown(context: BuiltinContext, name: str) -> str:
    return "" if name in context.modules.modules() else f" (there is no module '{name}' here)"

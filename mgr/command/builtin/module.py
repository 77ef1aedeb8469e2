"""Commands ``mgr module``: list, enable, disable and reload modules.

Enabling or disabling a module writes its record. The module host follows the record and starts or
stops that module only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mgr.access.caps import CHANGE_ACCESS, AccessRequest
from mgr.command.builtin import module_info, module_install, module_top, quarantine
from mgr.command.builtin.call import BuiltinCommand, Call, Reply, builtin
from mgr.command.builtin.context import BuiltinContext, ModuleInfo, ReloadResult
from mgr.command.render import table
from mgr.config.enabled_modules import RESTRICTED, Switch, decode, encode, is_on
from mgr.election.records import Presence
from mgr.election.records import decode as decode_election
from mgr.errors import InvalidArgumentError, NotFoundError, NotPermittedError
from mgr.likeness import most_similar
from mgr.store.keys import NAME

MODULE_ARG = "name=module,type=CephString"
ENABLE = "mgr module enable"
PLACES = ("mgr ", "")
"""``mgr module env``, and ``module env`` for short."""


def commands(context: BuiltinContext) -> list[BuiltinCommand]:
    """Return the commands of this noun."""
    noun = _Modules(context)
    return [
        builtin("mgr module ls", "list active mgr modules", "r", noun.ls),
        builtin(
            f"{ENABLE} {MODULE_ARG} name=force,type=CephBool,req=false,positional=false",
            "enable mgr module",
            "rw",
            noun.enable,
        ),
        builtin(f"mgr module disable {MODULE_ARG}", "disable mgr module", "rw", noun.disable),
        builtin(
            f"mgr module force disable {MODULE_ARG} "
            "name=yes_i_really_mean_it,type=CephBool,req=false,positional=false",
            "force disable an always-on mgr module",
            "rw",
            noun.force_disable,
        ),
        builtin(
            f"mgr module reload {MODULE_ARG}",
            "import the changed files of an mgr module and restart it, on every manager",
            "rw",
            noun.reload,
        ),
        *noun.environment_commands(),
        *module_install.commands(context),
        *module_info.commands(context),
        *module_top.commands(context),
        *quarantine.commands(context),
    ]


class _Modules:
    def __init__(self, context: BuiltinContext) -> None:
        self._context = context

    async def ls(self, _call: Call) -> Reply:
        found = self._context.modules.modules()
        switches = self._switches()
        always_on = sorted(name for name, info in found.items() if info.always_on)
        forced_off = sorted(name for name, switch in switches.items() if switch.forced_off)
        enabled = sorted(
            name for name in found.keys() | switches.keys() if self._runs(name, found, switches)
        )
        available = {
            each["name"]: each for each in self._context.mgr_map().get("available_modules", ())
        }
        data = {
            "always_on_modules": always_on,
            "force_disabled_modules": forced_off,
            "enabled_modules": [name for name in enabled if name not in always_on],
            "disabled_modules": [
                available.get(name, {"name": name})
                for name in sorted(found)
                if name not in enabled and name not in always_on
            ],
            "quarantined_modules": quarantine.quarantine_reasons(self._context),
            "module_effects": {
                name: {"effects": info.effects, "source": info.effects_source}
                for name, info in sorted(found.items())
            },
        }
        rows = [(name, "on (always on)") for name in always_on if name not in forced_off]
        rows += [
            (name, "off (always on but force-disabled)") for name in always_on if name in forced_off
        ]
        rows += [(name, "on") for name in data["enabled_modules"]]
        rows += [(str(info["name"]), "-") for info in data["disabled_modules"]]
        lines = [(*row, _effects(found.get(row[0])), _remark(found.get(row[0]))) for row in rows]
        return Reply(data, plain=table(("MODULE", "", "EFFECTS", ""), lines))

    async def enable(self, call: Call) -> Reply:
        name, force = _name(call), bool(call.get("force"))
        if name in RESTRICTED:
            needed = AccessRequest(ENABLE, CHANGE_ACCESS, arguments=call.arguments)
            self._context.access.check(call.caller, needed)
        found = self._context.modules.modules()
        info = found.get(name)
        if not force:
            self._refuse_unsupported(name, found)
        switches = await self._settled_switches(name)
        if info is not None and info.always_on:
            if switches.get(name, Switch()).forced_off:
                await self._switch(name, Switch(enabled=True))
                return _enabled_reply(name, info)
            return Reply(note=f"module '{name}' is already enabled (always-on)")
        if self._runs(name, found, switches):
            return Reply(note=f"module '{name}' is already enabled")
        if not force and self._context.modules.has_run(name):
            # What the earlier instance left in its classes must not reach the next one.
            await self._import_again(name)
        await self._switch(name, Switch(enabled=True))
        return _enabled_reply(name, info)

    async def disable(self, call: Call) -> Reply:
        name = _name(call)
        found = self._context.modules.modules()
        info = found.get(name)
        if info is not None and info.always_on:
            raise NotPermittedError(
                f"module '{name}' cannot be disabled (always-on), use "
                f"`mgrctl mgr module force disable {name}` to disable an always-on module"
            )
        if not self._runs(name, found, await self._settled_switches(name)):
            # Also for an unknown name: it does not run either, and Ceph answers the same.
            return Reply(note=f"module '{name}' is already disabled{_suggestion(name, found)}")
        await self._switch(name, Switch(enabled=False))
        return Reply(note=await self._context.modules.still_acting(name))

    async def force_disable(self, call: Call) -> Reply:
        name = _name(call)
        found = self._context.modules.modules()
        info = found.get(name)
        if info is None or not info.always_on:
            raise InvalidArgumentError(f'Always-on module named "{name}" does not exist')
        if (await self._settled_switches(name)).get(name, Switch()).forced_off:
            return Reply(note=f'Module "{name}" is already disabled')
        if not call.get("yes_i_really_mean_it"):
            raise NotPermittedError(
                f"module '{name}' is always on: other modules rely on it. "
                "Pass --yes-i-really-mean-it to disable it anyway"
            )
        await self._switch(name, Switch(forced_off=True))
        return Reply(note=await self._context.modules.still_acting(name))

    async def reload(self, call: Call) -> Reply:
        name, context = _name(call), self._context
        reloaded = await self._import_again(name)
        info = context.modules.modules().get(name)
        state = "" if reloaded.runs else "; it is not enabled"
        if info is not None and info.blocked_by:
            state = f"; it does not run: {info.blocked_by}"
        return Reply(
            note=f"module '{name}' was reloaded on mgr.{context.manager_id}{state}. "
            "Standbys follow, each with its own files; health names those that could not"
        )

    def environment_commands(self) -> list[BuiltinCommand]:
        """Return the commands for libraries of modules, each under both of its names."""
        sync = "install what a module requires, on every manager, and restart it"
        states = "list the modules that have requirements, and whether this manager has them"
        return [
            *(builtin(f"{p}module env sync {MODULE_ARG}", sync, "rwx", self.sync) for p in PLACES),
            *(builtin(f"{p}module env ls", states, "r", self.environments) for p in PLACES),
        ]

    async def sync(self, call: Call) -> Reply:
        name, context = _name(call), self._context
        if name not in context.modules.modules():
            raise NotFoundError(f"there is no module {name!r} on this manager: see mgr module ls")
        digest = await context.modules.sync_libraries(name)
        # Before the reload, which standbys follow: they install first.
        await context.fenced.put(context.keys.environment(name), digest)
        reloaded = await self._import_again(name)
        state = "" if reloaded.runs else "; it is not enabled"
        return Reply(
            note=f"module '{name}' has its libraries on mgr.{context.manager_id}{state}. Standbys "
            "follow, each with its own requirements.txt; health names those that could not"
        )

    async def environments(self, _call: Call) -> Reply:
        found = {
            name: info.libraries
            for name, info in sorted(self._context.modules.modules().items())
            if info.libraries != "-"
        }
        plain = table(("MODULE", "LIBRARIES"), found.items()) if found else "no module requires any"
        return Reply(found, plain=plain)

    async def _import_again(self, name: str) -> ReloadResult:
        reloaded = await self._context.modules.reload(name)
        environment, info = self._context.keys.environment(name), self._context.modules.modules()
        requires = name in info and info[name].libraries != "-"
        if not requires and self._context.mirror.get(environment) is not None:
            # Standbys would miss requirements that nobody has any more.
            await self._context.fenced.delete(environment)
        # Standbys follow this record. It is written last, so that they do not reload files that
        # failed to import here.
        await self._context.fenced.put(self._context.keys.reload(name), reloaded.digest)
        return reloaded

    def _refuse_unsupported(self, name: str, found: Mapping[str, ModuleInfo]) -> None:
        info = found.get(name)
        lacking = [] if info else [self._context.manager_id]
        records = self._context.mirror.list(self._context.keys.managers).values()
        for record in records:
            presence = decode_election(record.value, Presence)
            if presence is None or presence.name == self._context.manager_id or not presence.warm:
                continue
            if name not in {report.name for report in presence.modules}:
                lacking.append(presence.name)
        if lacking:
            where = "" if info is None else f" (not on {', '.join(sorted(lacking))})"
            raise NotFoundError(
                f"all mgr daemons do not support module '{name}'{where}, "
                f"pass --force to force enablement{_unknown(name, found) if info is None else ''}"
            )
        if info is not None and not info.can_run:
            raise NotFoundError(
                f"module '{name}' reports that it cannot run on the active manager daemon: "
                f"{info.error} (pass --force to force enablement)"
            )

    async def _switch(self, name: str, switch: Switch) -> None:
        await self._context.fenced.put(self._context.keys.module(name), encode(switch))

    async def _settled_switches(self, name: str) -> dict[str, Switch]:
        # Before "already enabled" is answered: an earlier write with an unknown outcome may still
        # change the record.
        await self._context.fenced.read_settled((self._context.keys.module(name),))
        return self._switches()

    def _switches(self) -> dict[str, Switch]:
        prefix = self._context.keys.modules
        records = self._context.mirror.list(prefix)
        return {
            key.removeprefix(prefix): switch
            for key, record in records.items()
            if (switch := decode(record.value)) is not None
        }

    @staticmethod
    def _runs(name: str, found: Mapping[str, ModuleInfo], switches: Mapping[str, Switch]) -> bool:
        info = found.get(name, ModuleInfo(name=name))
        return is_on(switches.get(name), always_on=info.always_on, default=info.default_enabled)


def _name(call: Call) -> str:
    name: str = call["module"]
    if not NAME.fullmatch(name):
        raise InvalidArgumentError(f"'{name}' cannot be the name of a module")
    return name


def _suggestion(name: str, found: Mapping[str, Any]) -> str:
    near = most_similar(name, found)
    return f"; did you mean '{near}'?" if near and near != name else ""


def _unknown(name: str, found: Mapping[str, Any]) -> str:
    late = f"; if its folder was added after they started, use 'mgr module reload {name}'"
    return _suggestion(name, found) or late


def _enabled_reply(name: str, info: ModuleInfo | None) -> Reply:
    """Return the answer for a module that was just enabled, which names why it does not run."""
    if info is None:
        return Reply(note=f"module '{name}' is enabled and does not run: it is not on this manager")
    if info.blocked_by:
        return Reply(note=f"module '{info.name}' is enabled and not started yet: {info.blocked_by}")
    if not info.can_run:
        return Reply(note=f"module '{info.name}' is enabled and does not run: {info.error}")
    return Reply()


def _effects(info: ModuleInfo | None) -> str:
    return info.effects if info is not None else "-"


def _remark(info: ModuleInfo | None) -> str:
    if info is None:
        return "not on this manager"
    return info.error.strip().splitlines()[-1] if info.error.strip() else ""

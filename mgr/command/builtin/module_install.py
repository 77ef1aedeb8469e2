"""Commands ``mgr module install-package|uninstall|rollback|installed``: modules of every manager.

``mgrctl mgr module install FILE`` (``mgr/cli/module_install.py``) sends the file in base64, and its
SHA-256 as an argument, which the audit keeps.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any, Final

from mgr.access.caps import CHANGE_ACCESS
from mgr.audit.author import author_of
from mgr.command.builtin.call import BuiltinCommand, Call, Reply, builtin
from mgr.command.builtin.context import BuiltinContext, ReloadResult
from mgr.command.render import table
from mgr.config.installed_modules import InstalledModule, PackageVersion, lacking, short_digest
from mgr.election.records import Presence, decode
from mgr.errors import InvalidArgumentError
from mgr.link import ModuleReport

MODULE_ARG: Final = "name=module,type=CephString"
FOLLOW_S: Final = 4.0
"""How long the answer waits for the other managers: less than a client's default limit."""
LOOK_EVERY_S: Final = 0.05
NOT_YET: Final = "not yet"


def commands(context: BuiltinContext) -> list[BuiltinCommand]:
    """Return the commands of this noun."""
    noun = _Installed(context)
    return [
        builtin(
            "mgr module install-package name=sha256,type=CephString",
            "install a module's package, or a new version of it, on every manager; -i: the "
            "package in base64",
            CHANGE_ACCESS,
            noun.install,
        ),
        builtin(
            f"mgr module rollback {MODULE_ARG}",
            "go back to the version of an installed module before the present one",
            CHANGE_ACCESS,
            noun.roll_back,
            once=True,
        ),
        builtin(
            f"mgr module uninstall {MODULE_ARG}",
            "remove an installed module, which is disabled, from every manager",
            CHANGE_ACCESS,
            noun.uninstall,
        ),
        builtin(
            "mgr module installed",
            "list installed modules, their versions, and the managers that lack them",
            "r",
            noun.ls,
        ),
    ]


class _Installed:
    def __init__(self, context: BuiltinContext) -> None:
        self._context = context

    async def install(self, call: Call) -> Reply:
        digest: str = call["sha256"]
        try:
            data = base64.b64decode("".join(call.inbuf.split()), validate=True)
        except (binascii.Error, ValueError):
            data = b""
        if not data:
            raise InvalidArgumentError("give the package in base64: mgrctl mgr module install FILE")
        by = author_of(call.caller)
        name, reloaded = await self._context.packages.install(data, digest, by=by)
        return await self._reply(name, digest.removeprefix("sha256:"), reloaded, by)

    async def roll_back(self, call: Call) -> Reply:
        name, by = call["module"], author_of(call.caller)
        version, reloaded = await self._context.packages.roll_back(name, by=by)
        return await self._reply(name, version.digest, reloaded, by)

    async def uninstall(self, call: Call) -> Reply:
        name: str = call["module"]
        await self._context.packages.uninstall(name)
        self._log(f"module '{name}' was uninstalled", author_of(call.caller))
        return Reply(note=f"module '{name}' is uninstalled; its options and entries stay")

    async def ls(self, _call: Call) -> Reply:
        data = [self._shown(*item) for item in sorted(self._context.packages.installed().items())]
        rows = [
            (
                each["name"],
                short_digest(each["current"]["digest"]),
                each["current"]["at"],
                each["current"]["by"] or "-",
                short_digest(each["previous"]["digest"]) if each["previous"] else "-",
                "; ".join(f"mgr.{who}: {why}" for who, why in each["missing"].items()) or "-",
            )
            for each in data
        ]
        heads = ("MODULE", "VERSION", "SINCE", "BY", "BEFORE", "MISSING ON")
        return Reply(data, plain=table(heads, rows) if rows else "no module is installed")

    def _shown(self, name: str, record: InstalledModule) -> dict[str, Any]:
        return {
            "name": name,
            "current": _version(record.current),
            "previous": record.previous and _version(record.previous),
            "missing": {
                manager: why or NOT_YET
                for manager, why in lacking(name, record, self._reports()).items()
            },
        }

    async def _reply(self, name: str, digest: str, reloaded: ReloadResult, by: str) -> Reply:
        self._log(f"module '{name}' {short_digest(digest)} was installed", by)
        missing = await self._wait(name)
        where = "on every manager" if not missing else "on the other managers"
        parts = [f"module '{name}' {short_digest(digest)} is installed {where}"]
        parts += [] if reloaded.runs else [f"it is not enabled: mgrctl mgr module enable {name}"]
        parts += [f"mgr.{manager} lacks it: {why or NOT_YET}" for manager, why in missing.items()]
        return Reply(note="; ".join(parts))

    async def _wait(self, name: str) -> Mapping[str, str]:
        """Wait until every manager has the module or says why not; return those that lack it."""
        end_s = self._context.clock.now() + FOLLOW_S
        while record := self._context.packages.installed().get(name):
            missing = lacking(name, record, self._reports())
            if all(missing.values()) or self._context.clock.now() >= end_s:
                return missing
            # Polling: presences come from other hosts, several changes of each are possible.
            await asyncio.sleep(LOOK_EVERY_S)
        return {}

    def _reports(self) -> dict[str, Sequence[ModuleReport]]:
        context = self._context
        records = context.mirror.list(context.keys.managers).values()
        presences = [one for each in records if (one := decode(each.value, Presence))]
        own = [
            ModuleReport(name=name, can_run=info.can_run, error=info.error, package=info.package)
            for name, info in context.modules.modules().items()
        ]
        others = {each.name: each.modules for each in presences if each.warm}
        return {**others, context.manager_id: own}

    def _log(self, text: str, by: str) -> None:
        who = f" by {by}" if by else ""
        self._context.log.add(f"{text}{who}", name=f"mgr.{self._context.manager_id}")


def _version(version: PackageVersion) -> dict[str, Any]:
    return {
        "digest": version.digest,
        "size": version.size,
        "at": version.at,
        "by": version.by,
    }

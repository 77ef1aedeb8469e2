"""``mgr module info``: what one module is, what it declares and what it may reach."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from mgr.command.builtin.call import BuiltinCommand, Call, Reply, builtin
from mgr.command.builtin.context import BuiltinContext, ModuleInfo
from mgr.config.enabled_modules import decode, is_on
from mgr.errors import NotFoundError
from mgr.module_api.manifest import Manifest, as_document

NO_MANIFEST: Final = "none: it may reach what any module of Ceph may"


def commands(context: BuiltinContext) -> list[BuiltinCommand]:
    """The command."""
    noun = _ModuleInfo(context)
    return [
        builtin(
            "mgr module info name=module,type=CephString",
            "show where a module comes from, what it declares and what it may reach",
            "r",
            noun.info,
        )
    ]


class _ModuleInfo:
    def __init__(self, context: BuiltinContext) -> None:
        self._context = context

    async def info(self, call: Call) -> Reply:
        name: str = call["module"]
        found = self._context.modules.modules().get(name)
        if found is None:
            raise NotFoundError(f"there is no module {name!r} on this manager: see mgr module ls")
        data = {
            "name": name,
            "place": found.place,
            "enabled": self._enabled(found),
            "always_on": found.always_on,
            "can_run": found.can_run,
            "error": found.error,
            "effects": found.effects,
            "effects_source": found.effects_source,
            "commands": sorted(
                each.prefix for each in self._context.registry.all() if each.module == name
            ),
            "options": sorted(self._context.config.schemas.of(name)),
            "manifest": as_document(found.manifest),
            "changes": list(found.changes),
        }
        return Reply(data, plain="\n".join(_lines(data, found.manifest)))

    def _enabled(self, info: ModuleInfo) -> bool:
        keys = self._context.keys
        record = self._context.mirror.get(keys.module(info.name))
        switch = decode(record.value) if record else None
        return is_on(switch, always_on=info.always_on, default=info.default_enabled)


def _lines(data: Mapping[str, Any], manifest: Manifest | None) -> Iterable[str]:
    state = "on" if data["enabled"] else "off"
    yield f"module:   {data['name']} ({state}{', always on' if data['always_on'] else ''})"
    yield f"place:    {data['place'] or '-'}"
    if data["error"]:
        yield f"error:    {data['error'].strip().splitlines()[-1]}"
    yield f"effects:  {data['effects']} (from: {data['effects_source']})"
    yield f"commands: {', '.join(data['commands']) or '-'}"
    yield f"options:  {', '.join(data['options']) or '-'}"
    if found := data["changes"]:
        yield f"process:  of its own, for its import changes {', '.join(found)}"
    if manifest is None:
        yield f"manifest: {NO_MANIFEST}"
        return
    yield f"manifest: {'enforced' if manifest.enforce else 'not enforced'}"
    for entry, allowed in (data["manifest"] or {}).items():
        if entry != "enforce":
            yield f"  {entry}: {_allowed(entry, allowed)}"


def _allowed(entry: str, patterns: Iterable[str]) -> str:
    shown = ["all of its own" if not each and entry == "store" else each for each in patterns]
    return ", ".join(shown) or "nothing"

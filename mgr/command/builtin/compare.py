"""Command ``mgr compare``: what should be the same on every manager, and is not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mgr.command.builtin.call import BuiltinCommand, Call, Reply, builtin
from mgr.command.builtin.context import BuiltinContext
from mgr.command.render import table
from mgr.election.records import Presence, decode

ABSENT = "absent"


def commands(context: BuiltinContext) -> list[BuiltinCommand]:
    """Return the commands of this noun."""

    async def compare(_call: Call) -> Reply:
        records = context.mirror.list(context.keys.managers).values()
        presences = [one for each in records if (one := decode(each.value, Presence))]
        found = list(differences(presences))
        names = [each.name for each in presences]
        rows = [
            (each["kind"], each["name"], *(each["values"].get(name, "") for name in names))
            for each in found
        ]
        plain = (
            table(("WHAT", "NAME", *(f"mgr.{name}" for name in names)), rows)
            if rows
            else f"{len(names)} managers: nothing differs"
        )
        return Reply({"managers": names, "differences": found}, plain=plain)

    return [
        builtin(
            "mgr compare",
            "compare settings, versions and module files of all managers: list what differs",
            "r",
            compare,
        )
    ]


def differences(presences: Sequence[Presence]) -> Iterator[dict[str, Any]]:
    """Yield what differs. A manager of a version that does not report something is left out."""
    yield from _differing("version", {"mgrd": {each.name: each.version for each in presences}})
    settings: dict[str, dict[str, str]] = {}
    modules: dict[str, dict[str, str]] = {}
    for each in presences:
        for name, value in each.settings.items():
            settings.setdefault(name, {})[each.name] = value
    reporting = [each for each in presences if any(module.files for module in each.modules)]
    for name in sorted({module.name for each in reporting for module in each.modules}):
        modules[name] = {
            each.name: next((one.files for one in each.modules if one.name == name), ABSENT)
            for each in reporting
        }
    yield from _differing("setting", settings)
    yield from _differing("module", modules)


def _differing(kind: str, values: Mapping[str, Mapping[str, str]]) -> Iterator[dict[str, Any]]:
    for name, by_manager in sorted(values.items()):
        if len(set(by_manager.values())) > 1:
            yield {"kind": kind, "name": name, "values": dict(by_manager)}

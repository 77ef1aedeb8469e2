"""What a module declares, read in a process that may die, as plain values."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

import msgspec

from mgr.config.effects import Effects
from mgr.host.finder import DiscoveredModule, ModuleLocation
from mgr.module_api.command import CommandDeclaration
from mgr.module_api.manifest import Manifest, as_document
from mgr.module_process.failures import decode_crash, encode_crash
from mgr.module_process.load_order import LoadOrder
from mgr.module_process.messages import dumps
from mgr.module_process.process import ModuleProcess, ProcessEnd
from mgr.module_process.processes import ModuleProcesses
from mgr.module_process.zygote_link import ZygoteError

CURRENT: Final = "Current thread "
"""How ``faulthandler`` begins the stack of the thread that got a signal."""
FRAMES_SHOWN: Final = 4


def encode_declarations(found: DiscoveredModule, digest: str) -> dict[str, Any]:
    """Return ``found`` without its classes, as plain values."""
    return {
        "name": found.name,
        "place": found.place,
        "package": found.package,
        "always_on": found.always_on,
        "effects": found.effects.value if found.effects else None,
        "declared": found.loaded,
        "standby_declared": found.standby is not None,
        "can_run": found.can_run,
        "error": found.error,
        "commands": [asdict(each) for each in found.commands],
        "options": [plain_fields(each) for each in found.options],
        "notify_types": sorted(found.notify_types),
        "secret_keys": list(found.secret_keys),
        "crashes": [encode_crash(each) for each in found.crashes],
        "digest": digest,
        "manifest": as_document(found.manifest),
        "changes": list(found.changes),
    }


def decode_declarations(fields: dict[str, Any]) -> DiscoveredModule:
    """Return the module of ``encode_declarations``: declared, and imported nowhere."""
    effects, manifest = fields["effects"], fields["manifest"]
    return DiscoveredModule(
        **{
            **fields,
            "effects": Effects(effects) if effects else None,
            "commands": tuple(CommandDeclaration(**each) for each in fields["commands"]),
            "options": tuple(fields["options"]),
            "manifest": manifest and msgspec.convert(manifest, Manifest),
            "notify_types": frozenset(fields["notify_types"]),
            "secret_keys": tuple(fields["secret_keys"]),
            "changes": tuple(fields["changes"]),
            "crashes": tuple(decode_crash(each) for each in fields["crashes"]),
        }
    )


class Declarations:
    """Reads what modules declare, each in a process of its own, which is then ended."""

    def __init__(self, processes: ModuleProcesses, order: LoadOrder, *, limit_s: float) -> None:
        """Give up on a module that takes longer than ``limit_s`` to import."""
        self._processes = processes
        self._order = order
        self._limit_s = limit_s

    async def read(self, location: ModuleLocation, *, fresh: bool = False) -> DiscoveredModule:
        """Return what the module at ``location`` declares; raises nothing.

        With ``fresh`` compiled files are not used, and the digest of the source files is computed.
        """
        try:
            process = await self._processes.start(location.name, place=location.place)
        except ZygoteError as error:
            return _failed(location, str(error))
        try:
            return await self._load(process, location, fresh=fresh)
        finally:
            await process.end()

    async def _load(
        self, process: ModuleProcess, location: ModuleLocation, *, fresh: bool
    ) -> DiscoveredModule:
        _, loading = process.call("load", self._order.of(location, fresh=fresh, alone=False))
        try:
            async with asyncio.timeout(self._limit_s):
                await asyncio.wait({loading, process.ended}, return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            where = await last_stack(process)
            why = f"still being imported after {self._limit_s:g} s ({location.place}){where}"
            return _failed(location, why)
        finally:
            loading.add_done_callback(_retrieve)
        if loading.done() and not loading.exception():
            return decode_declarations(loading.result())
        if process.ended.done():
            return _failed(location, import_death(location, process.ended.result()))
        return _failed(location, str(loading.exception()))


async def last_stack(process: ModuleProcess) -> str:
    """Return where a process stands that does not answer, as the end of a sentence."""
    process.dump_stacks()
    await asyncio.sleep(0.1)
    return stack_text(process.stacks().splitlines())


def import_death(location: ModuleLocation, end: ProcessEnd) -> str:
    """Say that a module ended its process while it was imported, and where."""
    return f"importing it ended its process: {end.how} ({location.place}){stack_text(end.stack)}"


def stack_text(lines: Sequence[str]) -> str:
    """Return the innermost frames of the thread that died, or of the first, as a text's end."""
    shown = next((number for number, line in enumerate(lines) if line.startswith(CURRENT)), 0)
    frames: list[str] = []
    for line in lines[shown:]:
        if line.lstrip().startswith("File "):
            if "<frozen" not in line:
                frames.append(line.strip())
        elif frames:
            break
    return "; at " + ", ".join(frames[:FRAMES_SHOWN]) if frames else ""


def _failed(location: ModuleLocation, why: str) -> DiscoveredModule:
    return DiscoveredModule(
        name=location.name, place=location.place, package=location.package, error=why
    )


def plain_fields(option: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of an option; one that is no plain value is left out, as if not given."""
    found = {}
    for name, value in option.items():
        try:
            dumps((name, value))
        except Exception:  # noqa: BLE001, S112 - a module may declare any object
            continue
        found[name] = value
    return found


def _retrieve(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()

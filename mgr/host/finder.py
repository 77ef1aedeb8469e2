"""Finds modules, imports them and reads what they declare. Errors are recorded, never raised.

Modules come from three places: bundled (``modules.<name>``), installed distributions (entry-point
group ``mgr.modules``), and folders in ``module_path``. Two modules of the same name are an error
that names both places. ``module_path`` is *appended* to the import path: modules there may import
each other, and they shadow nothing that is installed; a folder with the name of another package is
imported under a name of our own (docs/adr/0045). A setting excludes bundled modules
(docs/adr/0019).
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.metadata
import importlib.util
import inspect
import logging
import os
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, Final, Protocol, TypeVar

import modules
from mgr.config.effects import Effects
from mgr.config.schema import OptionSpec
from mgr.host.bridge import run_in_thread
from mgr.host.class_attributes import check_can_run, declarations, notify_types, secret_keys
from mgr.host.crash import Crash, CrashOrigin
from mgr.host.declarations_reader import read_all, time_left_s
from mgr.host.effects import Classification, classify, declared_effects
from mgr.host.file_digest import files_digest
from mgr.host.forked_child import end_if_forked
from mgr.host.module_package import (
    ALLOWED_NAMES,
    InvalidModuleError,
    describe_error,
    is_allowed,
    package_of,
    refuse_coroutines,
)
from mgr.host.shared_state import SharedState, one_import, undo_changes
from mgr.host.steps import record
from mgr.link import ModuleReport
from mgr.module_api.ceph import bindings
from mgr.module_api.command import CommandDeclaration, collect_commands
from mgr.module_api.manifest import InvalidManifestError, Manifest, folder_of, manifest_of
from mgr.module_api.module import MgrModule, MgrStandbyModule
from mgr.module_api.repeated import repeated_declarations
from mgr.text import encodable
from mgr.worker_trace import StepKind

ENTRY_POINTS: Final = "mgr.modules"
FILE: Final = "module.py"
"""The file that makes a folder a module."""
ALL: Final = "all"
"""In ``bundled_skip``, stands for every bundled module."""
BUNDLED: Final = "modules."
"""Prefix of the package names of bundled modules."""
TURN_S: Final = 3.0
"""How long an import waits for those that began before it: one of them may never return."""
ERROR_MAX: Final = 2000
"""Characters of a module's error that are published: it is part of the manager's presence."""

C = TypeVar("C")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ModuleLocation:
    """A place where a module was found, before it is imported.

    Attributes:
        name: The name of the module.
        package: The package to import.
        place: Where it comes from, for messages.
        conflicting_place: Another place with a module of the same name; empty if none.

    """

    name: str
    package: str
    place: str
    conflicting_place: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscoveredModule:
    """One module on this host, loaded or not.

    Attributes:
        name: Its name.
        place: Where it comes from, for messages.
        always_on: It runs unless it is forced off; its class sets ``ALWAYS_ON = True``.
        effects: The effects that its class declares; None if it declares none.
        active: Its class; None if it did not load, and ``error`` contains the reason.
        standby: Its standby class, if it has one.
        can_run: The result of its ``can_run()``; False if it did not load.
        error: Why it did not load or cannot run; empty otherwise.
        commands: The commands it declares.
        options: Its option declarations; one that only its standby class has is a text.
        notify_types: The kinds of notification it subscribes to.
        secret_keys: The keys of its own entries that are secrets; one with ``/`` at its end stands
            for all that begin so.
        crashes: The exceptions that its code raised while it was loaded.
        digest: Digest of its source files; empty unless it was reloaded.
        files: Digest of the files in its folder, by which hosts are compared.
        installed: SHA-256 of its package; empty unless it was installed by command.
        outdated: Why its code differs from what the active reloaded; empty if it does not.
        manifest: What it says it reaches; None if it has no manifest.
        changes: What its import changes that all code of a process shares.
        package: The package to import.
        declared: Its declarations were read in another process.
        standby_declared: They have a standby class.
        held_back: It was not read, because it was quarantined.

    ``active`` and ``standby`` are None as well while it is imported in other processes only.

    """

    name: str
    place: str
    always_on: bool = False
    effects: Effects | None = None
    active: type[MgrModule] | None = None
    standby: type[MgrStandbyModule] | None = None
    can_run: bool = False
    error: str = ""
    commands: tuple[CommandDeclaration, ...] = ()
    options: tuple[Mapping[str, Any], ...] = ()
    notify_types: frozenset[str] = frozenset()
    secret_keys: tuple[str, ...] = ()
    crashes: tuple[Crash, ...] = ()
    digest: str = ""
    files: str = ""
    installed: str = ""
    outdated: str = ""
    manifest: Manifest | None = None
    changes: tuple[str, ...] = ()
    package: str = ""
    declared: bool = False
    standby_declared: bool = False
    held_back: bool = False

    @property
    def loaded(self) -> bool:
        """Whether it is valid: there is a class to construct, here or in another process."""
        return self.active is not None or self.declared

    @property
    def has_standby(self) -> bool:
        """Whether it has a standby class."""
        return self.standby is not None or self.standby_declared

    @property
    def location(self) -> ModuleLocation:
        """Where to import it from."""
        return ModuleLocation(self.name, self.package, self.place)

    def classify(self, operator_effects: Mapping[str, Effects]) -> Classification:
        """Decide where it acts; ``operator_effects`` is what the operator set, by module name."""
        return classify(self.name, self.place, self.effects, operator_effects)


Catalogue = Mapping[str, DiscoveredModule]
"""Every module of this host by name, in ascending order."""


def always_on(catalogue: Catalogue) -> frozenset[str]:
    """Return the names of the modules that run unless they are forced off."""
    return frozenset(found.name for found in catalogue.values() if found.always_on)


class ReadDeclarations(Protocol):
    """Reads what a module declares, without importing it in this process."""

    async def __call__(self, location: ModuleLocation, /) -> DiscoveredModule:
        """Return the module; raises nothing."""
        ...


async def find_modules(  # noqa: PLR0913 - by name
    module_path: Sequence[str],
    *,
    skip: Sequence[str] = (),
    limit_s: float,
    quarantine_reason: Callable[[str], str] = lambda _name: "",
    declare: ReadDeclarations | None = None,
    first: Collection[str] = (),
    elapsed_s: float = 0.0,
) -> Catalogue:
    """Find every module and read its declarations; raises nothing.

    Bundled modules named in ``skip`` are left out; ``all`` leaves out all of them. A module for
    which ``quarantine_reason`` returns a reason is recorded with that error and not imported.

    Without ``declare`` each module is imported here, one after the other, on other threads than
    the loop's. If an import takes longer than ``limit_s``, the module is recorded with that error
    and the next one is imported; the thread of the slow import is left running. With it, one that
    takes long delays the next one for a second, and those that are not read in time are recorded
    with that error; ``elapsed_s`` of it are over. Those named in ``first`` come first.
    """
    locations = await run_in_thread(
        "find-modules", lambda: list(module_locations(module_path, skip))
    )
    free: list[ModuleLocation] = []
    found: dict[str, DiscoveredModule] = {}
    for location in locations:
        if why := quarantine_reason(location.name):
            fields = {"module_name": location.name, "why": why}
            log.error("module not imported: quarantined", extra=fields)
            found[location.name] = replace(_not_loaded(location), error=why, held_back=True)
        else:
            free.append(location)
    free.sort(key=lambda location: location.name not in first)
    if declare is None:
        read = [await load_in_thread(location, limit_s) for location in free]
    else:
        read = await _declared(free, declare, time_left_s(limit_s, elapsed_s))
    for one in read:
        if one.error:
            log.warning(
                "module cannot be used", extra={"module_name": one.name, "error": one.error}
            )
        found[one.name] = one
    files = await run_in_thread("digest-modules", partial(files_digests, locations))
    return {name: replace(one, files=files[name]) for name, one in sorted(found.items())}


def files_digests(locations: Iterable[ModuleLocation]) -> dict[str, str]:
    """Return the digest of each module's files. Blocks."""
    return {each.name: files_digest(each.place) for each in locations}


async def load_in_thread(location: ModuleLocation, limit_s: float) -> DiscoveredModule:
    """Import one module on another thread than the loop's; raises nothing.

    If it takes longer than ``limit_s``, that is its error, and the thread is left running.
    """
    loading = run_in_thread("import-modules", partial(load, location, min(TURN_S, limit_s / 2)))
    try:
        async with asyncio.timeout(limit_s):
            return await loading
    except TimeoutError:
        why = f"still being imported after {limit_s:g} s ({location.place})"
        return replace(_not_loaded(location), error=why)


async def _declared(
    locations: Sequence[ModuleLocation], declare: ReadDeclarations, within_s: float
) -> list[DiscoveredModule]:
    """Read declarations, several at the same time, since each process imports on its own."""

    async def one(location: ModuleLocation) -> DiscoveredModule:
        return load(location) if location.conflicting_place else await declare(location)

    late = (
        f"not imported: this host's modules together took longer than {within_s:.0f} s; "
        "'mgrctl mgr module reload NAME' tries one again"
    )
    read = await read_all(locations, one, within_s)
    return [
        found or replace(_not_loaded(location), error=late)
        for location, found in zip(locations, read, strict=True)
    ]


def module_locations(
    module_path: Sequence[str], skip: Sequence[str] = ()
) -> Iterator[ModuleLocation]:
    """Yield the location of every module, without importing it. Appends to ``sys.path``."""
    bindings.install_stand_ins()
    by_name: dict[str, ModuleLocation] = {}
    conflicting_places: dict[str, str] = {}
    for location in _locations(module_path, skip):
        first = by_name.setdefault(location.name, location)
        if first is not location:
            conflicting_places[location.name] = location.place
    for name, location in by_name.items():
        yield replace(location, conflicting_place=conflicting_places.get(name, ""))


def load(
    location: ModuleLocation, turn_s: float = TURN_S, *, alone: bool = False
) -> DiscoveredModule:
    """Import one module and read its declarations. Blocks; raises nothing.

    It waits at most ``turn_s`` seconds for modules that are being imported. ``alone``: no other
    module runs in this process, so it does not matter what the import changes there.
    """
    found = _not_loaded(location)
    if location.conflicting_place:
        both = f"{location.place} and {location.conflicting_place}"
        error = f"two modules are called {location.name!r}: {both}"
        if location.package.startswith(BUNDLED):
            error += f"; mgrd --bundled-skip {location.name} leaves out ours"
        return replace(found, error=error)
    with one_import(turn_s):
        return _import(found, location, None if alone else SharedState())


def _import(
    found: DiscoveredModule, location: ModuleLocation, before: SharedState | None
) -> DiscoveredModule:
    process = os.getpid()
    try:
        with record(StepKind.IMPORT, found.name):
            package = importlib.import_module(location.package)
            active, standby = _classes(package, location)
            declared = with_declarations(found, active, standby)
            return replace(declared, changes=() if before is None else before.changes())
    except InvalidModuleError as error:
        return replace(found, error=str(error))
    except BaseException as error:  # noqa: BLE001 - importing runs the module's code: it may raise anything, an exit included
        crash = Crash.of(found.name, CrashOrigin.IMPORT, error)
        error_text = describe_error(error, Path(location.place).parent)
        return replace(found, error=error_text, crashes=(crash,))
    finally:
        end_if_forked(process, found.name)
        undo_changes(found.name)


def _not_loaded(location: ModuleLocation) -> DiscoveredModule:
    return DiscoveredModule(name=location.name, place=location.place, package=location.package)


def with_declarations(
    found: DiscoveredModule, active: type[MgrModule], standby: type[MgrStandbyModule] | None
) -> DiscoveredModule:
    """Return ``found`` with the declarations of these classes.

    Raises:
        InvalidModuleError: A declaration is invalid; the text names it.

    """
    name = found.name
    refuse_coroutines(active, standby)
    for what in repeated_declarations(active):
        log.warning("module declares something twice", extra={"module_name": name, "what": what})
    crashes: list[Crash] = []
    _try_register(active._register_commands, name, CrashOrigin.COMMANDS, crashes)  # noqa: SLF001 - Ceph's name
    _try_register(active._register_options, name, CrashOrigin.OPTIONS, crashes)  # noqa: SLF001 - as above
    if standby is not None:
        _try_register(standby._register_options, name, CrashOrigin.OPTIONS, crashes)  # noqa: SLF001 - as above
    declarations(active, "COMMANDS", ("cmd", "desc", "perm"))
    options = declarations(active, "MODULE_OPTIONS", ("name",))
    for entry in options:
        option = OptionSpec.from_declaration(entry, module=name)
        if why := option.contradiction(entry.get("type")):
            fields = {"module_name": name, "option": option.name, "why": why}
            log.warning("a module's option contradicts itself", extra=fields)
    can_run, why = check_can_run(active, name, Path(found.place).parent, crashes)
    return replace(
        found,
        active=active,
        standby=standby,
        always_on=getattr(active, "ALWAYS_ON", False) is True,
        effects=declared_effects(active),
        can_run=can_run,
        error=why,
        commands=tuple(collect_commands(active)),
        options=(*options, *_standby_only_options(standby, options)),
        notify_types=notify_types(active, name),
        secret_keys=secret_keys(active),
        manifest=_manifest(active, found.place),
        crashes=tuple(crashes),
    )


def locate(
    name: str, module_path: Sequence[str], skip: Sequence[str] = ()
) -> ModuleLocation | None:
    """Return where the module ``name`` is, None if there is none. Blocks."""
    locations = module_locations(module_path, skip)
    return next((each for each in locations if each.name == name), None)


def no_module(name: str) -> DiscoveredModule:
    """Return what stands for a module that is not on this host."""
    return DiscoveredModule(name=name, place="", error=f"there is no module {name!r}")


def module_reports(
    catalogue: Catalogue, standby_errors: Mapping[str, str] = MappingProxyType({})
) -> tuple[ModuleReport, ...]:
    """Return what a manager publishes about its modules; texts are cut and made encodable."""
    return tuple(
        ModuleReport(
            name=encodable(found.name),
            can_run=found.can_run,
            error=encodable(found.error[:ERROR_MAX]),
            files=found.files,
            package=found.installed,
            outdated=encodable(found.outdated[:ERROR_MAX]),
            standby_error=encodable(standby_errors.get(found.name, "")[:ERROR_MAX]),
        )
        for found in catalogue.values()
    )


def _locations(module_path: Sequence[str], skip: Sequence[str]) -> Iterator[ModuleLocation]:
    bundled = [one for folder in modules.__path__ for one in _module_folders(Path(folder), BUNDLED)]
    if unknown := set(skip) - {ALL, *(one.name for one in bundled)}:
        log.warning("bundled_skip names no bundled module", extra={"names": sorted(unknown)})
    yield from (one for one in bundled if one.name not in skip and ALL not in skip)
    for point in importlib.metadata.entry_points(group=ENTRY_POINTS):
        dist = point.dist
        owner = f"{dist.name} {dist.version}" if dist else "an installed distribution"
        # A package that holds ``module.py`` is the same as a folder: all of it is reloaded.
        package = point.module.removesuffix(".module")
        yield ModuleLocation(point.name, package, f"{point.module} of {owner}")
    for folder in module_path:
        path = Path(folder).absolute()
        if not path.is_dir():
            log.error("folder in module_path does not exist", extra={"folder": folder})
            continue
        if str(path) not in sys.path:
            sys.path.append(str(path))
        yield from _module_folders(path, "")


def _module_folders(folder: Path, prefix: str) -> Iterator[ModuleLocation]:
    for place in sorted(folder.iterdir()):
        if not (place / FILE).is_file():
            continue
        if not is_allowed(place.name):
            fields = {"folder": encodable(str(place)), "allowed": ALLOWED_NAMES}
            log.error("module folder ignored: its name is not allowed", extra=fields)
            continue
        package = prefix + place.name if prefix else package_of(place)
        yield ModuleLocation(place.name, package, str(place / FILE))


def _classes(
    package: ModuleType, location: ModuleLocation
) -> tuple[type[MgrModule], type[MgrStandbyModule] | None]:
    # Ceph looks for the class in the package only. If it is not there, module.py is searched too,
    # so that __init__.py does not have to import it.
    active = _single_subclass(MgrModule, package, location.package)
    if active is None:
        package = importlib.import_module(f"{location.package}.module")
        active = _single_subclass(MgrModule, package, location.package)
    if active is None:
        raise InvalidModuleError(f"no subclass of MgrModule in {location.place}")
    return active, _single_subclass(MgrStandbyModule, package, location.package)


def _single_subclass(base: type[C], package: ModuleType, home: str) -> type[C] | None:
    """Return the only subclass of ``base`` in ``package``; one it defines before imported ones."""
    shown = {
        thing
        for thing in vars(package).values()
        if inspect.isclass(thing) and issubclass(thing, base) and thing is not base
    }
    own = {one for one in shown if one.__module__ == home or one.__module__.startswith(f"{home}.")}
    chosen = own or shown
    # A class that has a subclass here is only its base, not a second module.
    chosen = {c for c in chosen if not any(o is not c and issubclass(o, c) for o in chosen)}
    if len(chosen) > 1:
        names = ", ".join(sorted(one.__name__ for one in chosen))
        raise InvalidModuleError(
            f"more than one subclass of {base.__name__} in {package.__name__}: {names}"
        )
    return next(iter(chosen), None)


def _try_register(register: Any, name: str, origin: CrashOrigin, crashes: list[Crash]) -> None:
    try:
        register(name)
    except Exception as error:  # a module may override it; Ceph goes on without
        log.exception("module registration raised", extra={"module_name": name})
        crashes.append(Crash.of(name, origin, error))


def _standby_only_options(
    standby: type[MgrStandbyModule] | None, options: Sequence[Mapping[str, Any]]
) -> Iterator[Mapping[str, Any]]:
    # Types come from the active class: an option that only the standby class declares is a text.
    known = {entry["name"] for entry in options}
    try:
        declared = declarations(standby, "MODULE_OPTIONS", ("name",)) if standby else ()
    except InvalidModuleError as error:
        log.warning("options of a standby class ignored", extra={"error": str(error)})
        return
    for entry in declared:
        if entry["name"] not in known:
            yield {**entry, "type": "str"}


def _manifest(active: type[MgrModule], place: str) -> Manifest | None:
    folder = Path(place).parent if Path(place).name == FILE else None
    try:
        return manifest_of(active, folder or folder_of(active))
    except InvalidManifestError as error:
        raise InvalidModuleError(f"manifest: {error}") from None

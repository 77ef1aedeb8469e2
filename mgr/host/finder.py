"""Which modules there are, and what each declares. A bad module is recorded, never raised.

Three places, first name wins and a second claimant is an error that names both: bundled
(``modules.<name>``), installed distributions (entry-point group ``mgr.modules``), and folders
dropped into ``module_path``, which is *appended* to the import path: siblings may import each
other, and nothing installed is shadowed. Which bundled ones are left out is a setting
(docs/adr/0019).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import logging
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Final, TypeVar

import modules
from mgr.config.effects import Effects
from mgr.host.bridge import run_in_thread
from mgr.host.crash import Crash, CrashOrigin
from mgr.host.effects import Classification, classify, declared_effects
from mgr.link import ModuleReport
from mgr.module_api.ceph import bindings
from mgr.module_api.command import CommandDeclaration, collect_commands
from mgr.module_api.module import MgrModule, MgrStandbyModule
from mgr.store.keys import NAME

ENTRY_POINTS: Final = "mgr.modules"
FILE: Final = "module.py"
"""What makes a folder a module."""
ALL: Final = "all"
"""Stands for every bundled module."""
BUNDLED: Final = "modules."
ERROR_MAX: Final = 2000
"""Characters of a module's error that other managers are told: it stands in each one's presence."""
"""How their packages' names begin."""

C = TypeVar("C")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ModuleLocation:
    """A place that claims to hold a module.

    Attributes:
        name: What operators would call it.
        package: What is imported.
        place: Where it comes from, for messages.
        conflicting_place: The place that has the name already; empty if none.

    """

    name: str
    package: str
    place: str
    conflicting_place: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscoveredModule:
    """One module on this host, loaded or not.

    Attributes:
        name: What operators call it.
        place: Where it stands, for messages.
        always_on: It runs unless it is forced off; its class says so by ``ALWAYS_ON = True``.
        effects: What its class says of where it acts; None if it says nothing.
        active: Its class; None if it did not load, and ``error`` says why.
        standby: Its standby class, if it has one.
        can_run: What its ``can_run()`` says; False if it did not load.
        error: Why it did not load or cannot run; empty otherwise.
        commands: What it can be asked.
        options: Its option declarations; one that only its standby class has is a text.
        notify_types: The notifications it wants.
        crashes: What its code raised while it was loaded.
        digest: Tells its source files from others; empty unless they were read anew.
        outdated: Why it is not what the active reloaded; empty if it is.

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
    crashes: tuple[Crash, ...] = ()
    digest: str = ""
    outdated: str = ""

    @property
    def loaded(self) -> bool:
        """Whether there is a class to construct."""
        return self.active is not None

    def classify(self, operator_effects: Mapping[str, Effects]) -> Classification:
        """Say where it acts; ``operator_effects`` is what the operator says, by name."""
        return classify(self.name, self.place, self.effects, operator_effects)


Catalogue = Mapping[str, DiscoveredModule]
"""Every module of this host by name, in ascending order."""


def always_on(catalogue: Catalogue) -> frozenset[str]:
    """The modules that run unless they are forced off."""
    return frozenset(found.name for found in catalogue.values() if found.always_on)


class InvalidModuleError(Exception):
    """A package that was imported and is no module; the text says why."""


async def find_modules(
    module_path: Sequence[str], *, skip: Sequence[str] = (), limit_s: float
) -> Catalogue:
    """Import every module that can be found, one after the other, off the loop's thread.

    The bundled ones named in ``skip`` are left out, with ``all`` every one of them. One that is
    not imported after ``limit_s`` is recorded as such and the next one is imported: its thread
    stays behind.
    """
    found: dict[str, DiscoveredModule] = {}
    for location in await run_in_thread(
        "find-modules", lambda: list(module_locations(module_path, skip))
    ):
        loading = run_in_thread("import-modules", partial(load, location))
        try:
            async with asyncio.timeout(limit_s):
                one = await loading
        except TimeoutError:
            why = f"still being imported after {limit_s:g} s ({location.place})"
            one = DiscoveredModule(name=location.name, place=location.place, error=why)
        if one.error:
            log.warning("module unusable", extra={"module_name": one.name, "error": one.error})
        found[one.name] = one
    return dict(sorted(found.items()))


def module_locations(
    module_path: Sequence[str], skip: Sequence[str] = ()
) -> Iterator[ModuleLocation]:
    """Say which modules there are, without importing one. Appends to ``sys.path``."""
    bindings.install_stand_ins()
    by_name: dict[str, ModuleLocation] = {}
    conflicting_places: dict[str, str] = {}
    for location in _locations(module_path, skip):
        first = by_name.setdefault(location.name, location)
        if first is not location:
            conflicting_places[location.name] = location.place
    for name, location in by_name.items():
        yield replace(location, conflicting_place=conflicting_places.get(name, ""))


def load(location: ModuleLocation) -> DiscoveredModule:
    """Import one module and read what it declares. Blocks; raises nothing."""
    found = DiscoveredModule(name=location.name, place=location.place)
    if location.conflicting_place:
        both = f"{location.place} and {location.conflicting_place}"
        error = f"two modules are called {location.name!r}: {both}"
        if location.package.startswith(BUNDLED):
            error += f"; mgrd --bundled-skip {location.name} leaves out ours"
        return replace(found, error=error)
    try:
        package = importlib.import_module(location.package)
        active, standby = _classes(package, location)
        return with_declarations(found, active, standby)
    except InvalidModuleError as error:
        return replace(found, error=str(error))
    except BaseException as error:  # noqa: BLE001 - importing runs the module's code: it may raise anything, an exit included
        crash = Crash.of(found.name, CrashOrigin.IMPORT, error)
        return replace(found, error=_describe_error(error), crashes=(crash,))


def with_declarations(
    found: DiscoveredModule, active: type[MgrModule], standby: type[MgrStandbyModule] | None
) -> DiscoveredModule:
    """``found`` with what these classes declare.

    Raises:
        InvalidModuleError: A declaration makes no sense; the text says which.

    """
    name = found.name
    crashes: list[Crash] = []
    _try_register(active._register_commands, name, CrashOrigin.COMMANDS, crashes)  # noqa: SLF001 - Ceph's name
    _try_register(active._register_options, name, CrashOrigin.OPTIONS, crashes)  # noqa: SLF001 - as above
    if standby is not None:
        _try_register(standby._register_options, name, CrashOrigin.OPTIONS, crashes)  # noqa: SLF001 - as above
    if _declarations(active, "COMMANDS", ("cmd", "desc", "perm")) is None:
        raise InvalidModuleError("Missing or invalid COMMANDS attribute")
    options = _declarations(active, "MODULE_OPTIONS", ("name",))
    if options is None:
        raise InvalidModuleError("Missing or invalid MODULE_OPTIONS attribute")
    can_run, why = _check_can_run(active, name, crashes)
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
        notify_types=_notify_types(active, name),
        crashes=tuple(crashes),
    )


def reload_module(
    name: str, module_path: Sequence[str], skip: Sequence[str] = ()
) -> DiscoveredModule:
    """Import a module's files as they are now, also one that was not there before. Blocks.

    If that fails, everything imported is as it was, and ``error`` says why. Raises nothing.
    """
    location = next(
        (each for each in module_locations(module_path, skip) if each.name == name), None
    )
    if location is None:
        return DiscoveredModule(name=name, place="", error=f"there is no module {name!r}")
    importlib.invalidate_caches()
    before = _unload(location.package)
    found = load(location)
    if not found.loaded and before:
        _unload(location.package)
        sys.modules.update(before)
        _set_in_parent(location.package)
    return replace(found, digest=_digest(location.package)) if found.loaded else found


def module_reports(catalogue: Catalogue) -> tuple[ModuleReport, ...]:
    """What other managers must know of these modules; short, and text that can be sent."""
    return tuple(
        ModuleReport(
            name=_encodable(found.name),
            can_run=found.can_run,
            error=_encodable(found.error[:ERROR_MAX]),
            outdated=_encodable(found.outdated[:ERROR_MAX]),
        )
        for found in catalogue.values()
    )


def _encodable(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()


def _unload(package: str) -> dict[str, ModuleType]:
    """Take ``package`` and all below it out of what is imported; what was there."""
    unloaded = {
        name: module
        for name, module in list(sys.modules.items())
        if name == package or name.startswith(f"{package}.")
    }
    for name, module in unloaded.items():
        del sys.modules[name]
        # Compiled code is told from newer files by second and size: too coarse for an author.
        if file := getattr(module, "__file__", None):
            with contextlib.suppress(OSError, ValueError):
                Path(importlib.util.cache_from_source(file)).unlink(missing_ok=True)
    return unloaded


def _digest(package: str) -> str:
    """The same for the same source files, wherever their folder stands."""
    found = hashlib.sha256()
    for folder in map(Path, sys.modules[package].__path__):
        for file in sorted(folder.rglob("*.py")):
            with contextlib.suppress(OSError):
                found.update(f"{file.relative_to(folder)}\0".encode() + file.read_bytes())
    return found.hexdigest()


def _set_in_parent(package: str) -> None:
    parent, _, child = package.rpartition(".")
    if parent in sys.modules:
        setattr(sys.modules[parent], child, sys.modules[package])


def _locations(module_path: Sequence[str], skip: Sequence[str]) -> Iterator[ModuleLocation]:
    bundled = [one for folder in modules.__path__ for one in _module_folders(Path(folder), BUNDLED)]
    if unknown := set(skip) - {ALL, *(one.name for one in bundled)}:
        log.warning("bundled_skip names no bundled module", extra={"names": sorted(unknown)})
    yield from (one for one in bundled if one.name not in skip and ALL not in skip)
    for point in importlib.metadata.entry_points(group=ENTRY_POINTS):
        owner = point.dist.name if point.dist else "an installed distribution"
        yield ModuleLocation(point.name, point.module, f"{point.module} of {owner}")
    for folder in module_path:
        path = Path(folder).absolute()
        if not path.is_dir():
            log.error("no such folder in module_path", extra={"folder": folder})
            continue
        if str(path) not in sys.path:
            sys.path.append(str(path))
        yield from _module_folders(path, "")


def _module_folders(folder: Path, prefix: str) -> Iterator[ModuleLocation]:
    for place in sorted(folder.iterdir()):
        if (place / FILE).is_file() and NAME.fullmatch(place.name):
            yield ModuleLocation(place.name, prefix + place.name, str(place / FILE))


def _classes(
    package: ModuleType, location: ModuleLocation
) -> tuple[type[MgrModule], type[MgrStandbyModule] | None]:
    # Ceph looks at the package only. Where that is silent the file that makes a folder a module
    # is asked, so that __init__.py need not repeat a name.
    active = _single_subclass(MgrModule, package, location.package)
    if active is None:
        package = importlib.import_module(f"{location.package}.module")
        active = _single_subclass(MgrModule, package, location.package)
    if active is None:
        raise InvalidModuleError(f"no subclass of MgrModule in {location.place}")
    return active, _single_subclass(MgrStandbyModule, package, location.package)


def _single_subclass(base: type[C], package: ModuleType, home: str) -> type[C] | None:
    """The one proper subclass of ``base`` that ``package`` shows; its own before imported ones."""
    shown = {
        thing
        for thing in vars(package).values()
        if inspect.isclass(thing) and issubclass(thing, base) and thing is not base
    }
    own = {one for one in shown if one.__module__ == home or one.__module__.startswith(f"{home}.")}
    chosen = own or shown
    # A class whose subclass stands beside it is that one's base, not a second module.
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
        log.exception("registration raised", extra={"module_name": name})
        crashes.append(Crash.of(name, origin, error))


def _declarations(owner: type, name: str, needed: Sequence[str]) -> list[Mapping[str, Any]] | None:
    """The list of declarations called ``name``; None if it is none, or one lacks a key."""
    value = getattr(owner, name, None)
    if not isinstance(value, list | tuple):
        return None
    fits = all(isinstance(one, Mapping) and all(key in one for key in needed) for one in value)
    return list(value) if fits else None


def _standby_only_options(
    standby: type[MgrStandbyModule] | None, options: Sequence[Mapping[str, Any]]
) -> Iterator[Mapping[str, Any]]:
    # Types come from the active class: what only the standby class declares is a text.
    known = {entry["name"] for entry in options}
    declared = _declarations(standby, "MODULE_OPTIONS", ("name",)) if standby else None
    for entry in declared or ():
        if entry["name"] not in known:
            yield {**entry, "type": "str"}


def _notify_types(active: type[MgrModule], name: str) -> frozenset[str]:
    wanted = getattr(active, "NOTIFY_TYPES", None) or []
    if not isinstance(wanted, list | tuple) or not all(isinstance(one, str) for one in wanted):
        log.error("NOTIFY_TYPES is not a list of names", extra={"module_name": name})
        return frozenset()
    return frozenset(str(getattr(one, "value", one)) for one in wanted)


def _check_can_run(active: type[MgrModule], name: str, crashes: list[Crash]) -> tuple[bool, str]:
    try:
        answer: object = active.can_run()
    except Exception as error:  # the module's code
        log.exception("can_run raised", extra={"module_name": name})
        crashes.append(Crash.of(name, CrashOrigin.CAN_RUN, error))
        return False, ""
    match answer:
        case (bool(can), str(why)) if isinstance(answer, tuple):
            return can, "" if can else why
        case _:
            return False, "wrong type returned from can_run"


def _describe_error(error: BaseException) -> str:
    """What went wrong, and in which line of whose file."""
    if isinstance(error, SyntaxError):
        return f"{error.msg} ({error.filename}:{error.lineno})"
    frames = traceback.extract_tb(error.__traceback__)
    # The import machinery stands around the module's frames, and may be the innermost.
    places = [f"{f.filename}:{f.lineno}" for f in frames if not f.filename.startswith("<frozen")]
    text = str(error) if isinstance(error, ImportError) else f"{type(error).__name__}: {error}"
    return f"{text} ({places[-1]})"

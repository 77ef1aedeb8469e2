"""Reloads a module's files: by command on the active, and then on every standby.

The active writes a record of each module that it reloaded or installed. A worker that imported its
modules before that reloads them too, so that no failover brings back old code. Each host has its
own files: their digest shows whether they are the same as the active's.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib
import importlib.util
import logging
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Final

from mgr.config.installed_modules import module_folders
from mgr.config.isolation import Isolation
from mgr.errors import InvalidArgumentError
from mgr.host.bridge import run_in_thread
from mgr.host.file_digest import files_digest
from mgr.host.finder import DiscoveredModule, ModuleLocation, load, locate, no_module
from mgr.host.imports import isolation
from mgr.host.installed_files import InstalledFiles
from mgr.host.module_environment import Environments, EnvironmentState, requirements_of
from mgr.host.module_environment import digest_of as digest_of_requirements
from mgr.host.package_follower import PackageFollower, failed
from mgr.host.worker_context import WorkerContext
from mgr.settings import Settings
from mgr.store.api import Revision

DIFFERENT_REQUIREMENTS: Final = (
    "its requirements.txt, its Python or its kind of machine differs from the active's"
)
MISSED_LIBRARIES: Final = (
    "the libraries it requires are {state} on this host, and were installed on others"
)
DIFFERENT_FILES: Final = "its files differ from those that the active manager reloaded"

log = logging.getLogger(__name__)


async def reread_files(manager: WorkerContext, name: str) -> DiscoveredModule:
    """Read a module's current files, here or, if it was not imported here, in another process.

    Raises nothing. If that fails, ``error`` contains the reason.
    """
    found = await _reread_files(manager, name)
    files = await run_in_thread("digest-module", partial(files_digest, found.place))
    return replace(
        found,
        files=files,
        installed=InstalledFiles.of(manager.settings).digest_at(found.place),
        outdated=found.outdated or _missed_libraries(manager, found),
    )


def mark_missed_libraries(manager: WorkerContext) -> None:
    """Mark the modules whose libraries were installed while this host had no worker.

    They are not installed now: a promotion would wait for an index (docs/adr/0067).
    """
    for found in list(manager.catalogue.values()):
        if missed := _missed_libraries(manager, found):
            manager.register_module(replace(found, outdated=missed))
            fields = {"module_name": found.name, "error": missed}
            log.warning("libraries of a module are missing on this host", extra=fields)


def _missed_libraries(manager: WorkerContext, found: DiscoveredModule) -> str:
    """Return why a module would run on other libraries here than elsewhere; empty: it would not.

    What this host's own ``requirements.txt`` asks for is enough: in an upgrade they differ.
    """
    if manager.mirror.get(manager.keys.environment(found.name)) is None:
        return ""
    state = Environments.of(manager.settings).state(found.name, found.place)
    if state in {EnvironmentState.NONE, EnvironmentState.CURRENT}:
        return ""
    return MISSED_LIBRARIES.format(state=state.value)


async def _reread_files(manager: WorkerContext, name: str) -> DiscoveredModule:
    known, declarations = manager.catalogue.get(name), manager.declarations
    imported_here = known is not None and known.active is not None
    if declarations is None or (imported_here and isolation(manager, name) is Isolation.THREAD):
        return await reload_in_thread(manager.settings, name)
    settings = manager.settings
    location = await _located(settings, name)
    return no_module(name) if location is None else await declarations.read(location, fresh=True)


async def _located(settings: Settings, name: str) -> ModuleLocation | None:
    find = partial(locate, name, module_folders(settings), settings.bundled_skip)
    return await run_in_thread("find-module", find)


async def reload_in_thread(settings: Settings, name: str) -> DiscoveredModule:
    """Import a module's current files, within ``module_load_s``. Raises nothing.

    If that fails, ``error`` contains the reason, and the code imported before stays.
    """
    reloading = run_in_thread(
        "reload-module",
        partial(reload_module, name, module_folders(settings), settings.bundled_skip),
    )
    try:
        async with asyncio.timeout(settings.module_load_s):
            return await reloading
    except TimeoutError:
        limit = f"{settings.module_load_s:g} s"
        return DiscoveredModule(name=name, place="", error=f"still being imported after {limit}")


class ReloadFollower:
    """Reloads, on a standby, the modules that the active has reloaded."""

    def __init__(self, manager: WorkerContext, since: Revision) -> None:
        """Follow each reload after ``since``. The modules must have been imported after that.

        Those are marked whose libraries were installed on other hosts before.
        """
        mark_missed_libraries(manager)
        manager.follow_quarantines()
        self._manager = manager
        self._packages = PackageFollower(manager)
        self._since = since
        self._followed_revisions: dict[str, Revision] = {}
        self._lock = asyncio.Lock()

    async def catch_up(self) -> dict[str, bool]:
        """Reload what the active has reloaded; return for each module whether its code is new.

        What it installed is fetched before, what it uninstalled is forgotten. Modules that are not
        quarantined any more are read: any manager may have released them. If the files cannot
        be imported, or differ from the active's, the catalogue shows that (``outdated``), and they
        are not tried again before the next reload.
        """
        manager = self._manager
        async with self._lock:
            done = dict.fromkeys(self._packages.forget_uninstalled(), False)
            for key, record in manager.mirror.list(manager.keys.reloads).items():
                name = key.removeprefix(manager.keys.reloads)
                if record.mod_revision > self._followed_revisions.get(name, self._since):
                    self._followed_revisions[name] = record.mod_revision
                    done[name] = await self._follow(name, record.value)
            for name in self._released():
                done[name] = await self._read_released(name)
        return done

    def _released(self) -> list[str]:
        manager = self._manager
        held_back = [found.name for found in manager.catalogue.values() if found.held_back]
        return [name for name in held_back if not manager.quarantine_reason(name)]

    async def _read_released(self, name: str) -> bool:
        found = await reread_files(self._manager, name)
        self._manager.register_module(found)
        fields = {"module_name": name, "error": found.error}
        log.info("module read: not quarantined any more", extra=fields)
        return found.loaded

    async def _follow(self, name: str, digest: str) -> bool:
        manager = self._manager
        if manager.quarantine_reason(name):
            return False
        fields = {"module_name": name}
        if why := await self._packages.follow(name):
            manager.register_module(failed(name, manager.catalogue.get(name), why))
            log.error("installed module is not on this host", extra=fields | {"error": why})
            return False
        failure = await self._follow_environment(name)
        found, known = await reread_files(manager, name), manager.catalogue.get(name)
        reloaded = found.loaded
        if not reloaded and known is not None:
            found = replace(known, outdated=found.error)
        elif reloaded and found.digest != digest:
            found = replace(found, outdated=DIFFERENT_FILES)
        elif reloaded and failure:
            found = replace(found, outdated=failure)
        manager.register_module(found)
        if why := found.outdated or found.error:
            log.error("standby did not reload the module", extra=fields | {"error": why})
        else:
            log.info("standby reloaded the module", extra=fields)
        return reloaded

    async def _follow_environment(self, name: str) -> str:
        """Install what the module requires if the active did; return why it is not installed."""
        manager = self._manager
        wanted = manager.mirror.get(manager.keys.environment(name))
        location = wanted and await _located(manager.settings, name)
        if not wanted or not location:
            return ""
        requirements = requirements_of(location.place)
        if requirements is None or digest_of_requirements(requirements) != wanted.value:
            return DIFFERENT_REQUIREMENTS
        try:
            await sync_environment(manager.settings, name, location.place)
        except InvalidArgumentError as error:
            return f"its libraries are not installed: {error}"
        return ""


async def sync_environment(settings: Settings, name: str, place: str) -> str:
    """Install what the module whose file is ``place`` requires; return a digest of that.

    Raises:
        InvalidArgumentError: It requires nothing, or that cannot be installed.

    """
    sync = partial(Environments.of(settings).sync, name, place)
    return await run_in_thread("module-env", sync)


def reload_module(
    name: str, module_path: Sequence[str], skip: Sequence[str] = ()
) -> DiscoveredModule:
    """Import a module's current files, also of a module that is new. Blocks; raises nothing.

    If that fails, the code imported before stays, and ``error`` contains the reason.
    """
    location = locate(name, module_path, skip)
    if location is None:
        return no_module(name)
    importlib.invalidate_caches()
    root = _reloaded_package(location.package)
    before = _unload(root)
    found = load(location)
    if not found.loaded and before:
        _unload(root)
        sys.modules.update(before)
        _set_in_parent(root)
    if not found.loaded:
        return found
    return replace(found, digest=digest_of(location.package))


def digest_of(package: str) -> str:
    """Return a digest of the source files of an imported module."""
    return _digest(_reloaded_package(package))


def _reloaded_package(package: str) -> str:
    """Return the package whose files a reload imports again; ``package`` may be a single file."""
    parent = package.rpartition(".")[0]
    single_file = package in sys.modules and not hasattr(sys.modules[package], "__path__")
    return parent if parent and single_file else package


def _unload(package: str) -> dict[str, ModuleType]:
    """Remove ``package`` and all modules below it from ``sys.modules``; return them."""
    unloaded = {
        name: module
        for name, module in list(sys.modules.items())
        if name == package or name.startswith(f"{package}.")
    }
    for name, module in unloaded.items():
        del sys.modules[name]
        # Python checks compiled files by mtime in seconds and by size. An author may save twice
        # within a second, so the compiled file is deleted.
        if file := getattr(module, "__file__", None):
            with contextlib.suppress(OSError, ValueError):
                Path(importlib.util.cache_from_source(file)).unlink(missing_ok=True)
    return unloaded


def _digest(package: str) -> str:
    """Return a digest of the package's source files, independent of where the folder is."""
    found = hashlib.sha256()
    module = sys.modules[package]
    # A distribution may have a module in a single file, which has no ``__path__``.
    for place in map(Path, getattr(module, "__path__", [str(module.__file__)])):
        for file in [place] if place.is_file() else sorted(place.rglob("*.py")):
            with contextlib.suppress(OSError):
                found.update(f"{file.relative_to(place)}\0".encode() + file.read_bytes())
    return found.hexdigest()


def _set_in_parent(package: str) -> None:
    parent, _, child = package.rpartition(".")
    if parent in sys.modules:
        setattr(sys.modules[parent], child, sys.modules[package])

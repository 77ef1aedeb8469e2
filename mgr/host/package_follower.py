"""Brings the installed modules of this host to the versions that their records in etcd name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from mgr.config.installed_modules import installed_modules, stored_package
from mgr.host.bridge import run_in_thread
from mgr.host.finder import Catalogue, DiscoveredModule, no_module
from mgr.host.installed_files import InstalledFiles
from mgr.host.worker_context import WorkerContext
from mgr.settings import Settings
from mgr.store.api import Reader
from mgr.store.keys import Keys


async def bring_up_packages(settings: Settings, view: Reader, keys: Keys) -> dict[str, str]:
    """Fetch, check and unpack what is installed; return which modules failed, and why.

    Before the modules are searched for.
    """
    files = InstalledFiles.of(settings)
    installed, package_of = installed_modules(view, keys), partial(stored_package, view, keys)
    return await run_in_thread("installed-modules", partial(files.bring_up, installed, package_of))


def with_packages(
    settings: Settings, catalogue: Catalogue, failures: Mapping[str, str]
) -> Catalogue:
    """Return ``catalogue`` with the packages that its modules are of, and with what failed."""
    files = InstalledFiles.of(settings)
    found = {
        name: replace(each, installed=files.digest_at(each.place))
        for name, each in catalogue.items()
    }
    for name, why in failures.items():
        found[name] = failed(name, found.get(name), why)
    return dict(sorted(found.items()))


def failed(name: str, known: DiscoveredModule | None, why: str) -> DiscoveredModule:
    """Return the module ``name`` whose package cannot be used; what ran before goes on running."""
    return replace(no_module(name), error=why) if known is None else replace(known, outdated=why)


class PackageFollower:
    """Follows, on a standby, what the active installs and uninstalls."""

    def __init__(self, manager: WorkerContext) -> None:
        """Nothing is done before ``follow``."""
        self._manager = manager
        self._files = InstalledFiles.of(manager.settings)
        installed = installed_modules(manager.mirror, manager.keys)
        self._failed = {
            name for name, found in manager.catalogue.items() if not found.place
        } & installed.keys()

    async def follow(self, name: str) -> str:
        """Use the installed version of ``name``, if it is installed; return why it is not used."""
        manager = self._manager
        record = installed_modules(manager.mirror, manager.keys).get(name)
        if record is None:
            return ""
        package_of = partial(stored_package, manager.mirror, manager.keys)

        bring_up = partial(self._files.bring_up_one, name, record.current, package_of)
        why = await run_in_thread("install-module", bring_up)
        (self._failed.add if why else self._failed.discard)(name)
        return why

    def forget_uninstalled(self) -> list[str]:
        """Remove the modules that were uninstalled; return their names."""
        manager = self._manager
        gone = [
            name
            for name, found in manager.catalogue.items()
            if (found.installed or name in self._failed)
            and manager.mirror.get(manager.keys.installed_module(name)) is None
        ]
        for name in gone:
            self._files.drop(name)
            self._failed.discard(name)
            manager.forget_module(name)
        return gone

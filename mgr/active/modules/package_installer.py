"""Installs, rolls back and uninstalls modules on every manager (docs/adr/0073).

The package is stored first, then used here, and the record that the other managers follow is
written last: a package that does not load here reaches no other manager, and whoever leads next
finds the old version or the new one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import partial
from typing import Final

from mgr.active.modules.modules import ActiveModules
from mgr.clock import timestamp
from mgr.command.builtin.context import ReloadResult
from mgr.config.installed_modules import (
    PACKAGE_BYTES_MAX,
    STORED_BYTES_MAX,
    InstalledModule,
    PackageVersion,
    chunks,
    encode,
    installed_modules,
    stored_package,
    unused_chunks,
)
from mgr.errors import ConflictError, InvalidArgumentError, NotFoundError, TooLargeError
from mgr.host.bridge import run_in_thread
from mgr.host.installed_files import SWITCHED_OFF, InstalledFiles, checked_package
from mgr.host.module_archive import Package, read
from mgr.host.module_environment import requirements_of
from mgr.host.reload import sync_environment
from mgr.host.worker_context import WorkerContext
from mgr.store.api import Delete, Operation, Put
from mgr.store.fenced import FencedStore

WRITES_AT_ONCE: Final = 4
"""Chunks of one transaction: together they are below what etcd takes."""
REMOVED_AT_ONCE: Final = 100


class PackageInstaller:
    """Implements ``mgr.command.builtin.context.Packages``. Use it on the loop."""

    def __init__(self, manager: WorkerContext, fenced: FencedStore, modules: ActiveModules) -> None:
        """Install into ``modules``."""
        self._manager = manager
        self._fenced = fenced
        self._modules = modules
        self._files = InstalledFiles.of(manager.settings)
        self._lock = asyncio.Lock()

    def installed(self) -> dict[str, InstalledModule]:
        """See ``Packages``."""
        return installed_modules(self._manager.mirror, self._manager.keys)

    async def install(self, data: bytes, digest: str, *, by: str) -> tuple[str, ReloadResult]:
        """See ``Packages``."""
        if self._files.folder is None:
            raise InvalidArgumentError(SWITCHED_OFF)
        if len(data) > PACKAGE_BYTES_MAX:
            raise TooLargeError(
                f"a package to install has at most {PACKAGE_BYTES_MAX} bytes, not {len(data)}"
            )
        package = await run_in_thread("read-package", partial(read, data, digest=digest))
        self._refuse_other_origin(package.name)
        async with self._lock:
            await self._remove_unused()
            record = self._record_of(package, len(data), by)
            self._check_room(record.current)
            # Also if it is installed already: what is damaged in etcd is whole again.
            await self._store(chunks(self._manager.keys, package.digest, data))
            return package.name, await self._use(package, record)

    async def roll_back(self, name: str, *, by: str) -> tuple[PackageVersion, ReloadResult]:
        """See ``Packages``."""
        async with self._lock:
            record = self._record(name)
            if record.previous is None:
                raise InvalidArgumentError(f"module '{name}' was installed once: nothing is before")
            manager, again = self._manager, record.previous
            package_of = partial(stored_package, manager.mirror, manager.keys)
            package = await run_in_thread(
                "read-package", partial(checked_package, name, again, package_of)
            )
            version = PackageVersion(digest=again.digest, size=again.size, at=timestamp(), by=by)
            reloaded = await self._use(
                package, InstalledModule(current=version, previous=record.current)
            )
            return version, reloaded

    async def uninstall(self, name: str) -> None:
        """See ``Packages``."""
        async with self._lock:
            self._record(name)
            if name in self._modules.enabled:
                raise ConflictError(
                    f"module '{name}' is enabled: 'mgrctl mgr module disable {name}' first"
                )
            await self._modules.wait_stopped(name)
            keys = self._manager.keys
            await self._fenced.commit(
                [
                    Delete(keys.installed_module(name)),
                    Delete(keys.reload(name)),
                    Delete(keys.environment(name)),
                ]
            )
            await run_in_thread("uninstall-module", partial(self._files.drop, name))
            self._modules.forget(name)
            await self._remove_unused()

    # -- inside ---------------------------------------------------------------------------------

    def _record_of(self, package: Package, size: int, by: str) -> InstalledModule:
        before = self.installed().get(package.name)
        if before is not None and before.current.digest == package.digest:
            return before
        version = PackageVersion(digest=package.digest, size=size, at=timestamp(), by=by)
        return InstalledModule(current=version, previous=before.current if before else None)

    def _record(self, name: str) -> InstalledModule:
        record = self.installed().get(name)
        if record is None:
            raise NotFoundError(f"module '{name}' was not installed: see mgr module installed")
        return record

    def _refuse_other_origin(self, name: str) -> None:
        known = self._manager.catalogue.get(name)
        if known is not None and known.place and not self._files.owns(known.place):
            raise InvalidArgumentError(
                f"there is a module '{name}' on this manager already, in {known.place}: remove it "
                "from every manager first, or give yours another name"
            )

    def _check_room(self, version: PackageVersion) -> None:
        stored = {
            each.digest: each.size for one in self.installed().values() for each in one.versions
        }
        total = sum({**stored, version.digest: version.size}.values())
        if total > STORED_BYTES_MAX:
            raise TooLargeError(
                f"all packages together would have {total} bytes, and {STORED_BYTES_MAX} are the "
                "limit: uninstall modules that nobody needs"
            )

    async def _store(self, puts: Iterable[Put]) -> None:
        batch: list[Operation] = []
        for put in puts:
            batch.append(put)
            if len(batch) == WRITES_AT_ONCE:
                await self._fenced.commit(batch)
                batch = []
        if batch:
            await self._fenced.commit(batch)

    async def _use(self, package: Package, record: InstalledModule) -> ReloadResult:
        """Use ``package`` here, and have every other manager follow.

        Raises:
            InvalidArgumentError: It does not load here; the version before is used again.

        """
        name, keys = package.name, self._manager.keys
        before = self._files.digest_of(name)
        try:
            await run_in_thread("install-module", partial(self._files.use, package))
            environment = await self._environment(name)
            reloaded = await self._modules.reload(name)
        except InvalidArgumentError as error:
            await run_in_thread("install-module", partial(self._files.use_again, name, before))
            raise InvalidArgumentError(f"nothing was installed: {error}") from None
        # If this fails, the record names the version before: the next worker here uses that one,
        # and until then MGR_MODULE_INSTALL_INCOMPLETE names this manager.
        await self._fenced.commit(
            [
                Put(keys.installed_module(name), encode(record)),
                Put(keys.reload(name), reloaded.digest),
                environment,
            ]
        )
        return reloaded

    async def _environment(self, name: str) -> Operation:
        """Install the libraries that the module requires; return what other managers follow."""
        place, key = self._files.place_of(name), self._manager.keys.environment(name)
        if requirements_of(place) is None:
            return Delete(key)
        return Put(key, await sync_environment(self._manager.settings, name, place))

    async def _remove_unused(self) -> None:
        manager, installed = self._manager, self.installed()
        keys = unused_chunks(manager.mirror, manager.keys, installed)
        for start in range(0, len(keys), REMOVED_AT_ONCE):
            await self._fenced.commit(
                [Delete(key) for key in keys[start : start + REMOVED_AT_ONCE]]
            )
        digests = {version.digest for one in installed.values() for version in one.versions}
        await run_in_thread("installed-modules", partial(self._files.remove_except, digests))

"""A worker that does not lead has the code that the active has."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import sys
from dataclasses import replace

import pytest

from mgr.config.installed_modules import (
    InstalledModule,
    PackageVersion,
    chunks,
    encode,
    installed_modules,
)
from mgr.host.finder import find_modules, module_reports
from mgr.host.module_environment import digest_of
from mgr.host.reload import (
    DIFFERENT_FILES,
    ReloadFollower,
    mark_missed_libraries,
    reload_module,
    reread_files,
)
from mgr.settings import Settings
from mgr.store.api import Delete
from tests.support.module_archive import archive_of
from tests.unit.standby.test_role import world_of

TEXT = """
from mgr_module import MgrModule

class Module(MgrModule):
    TEXT = "{text}"
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the module ``followed``, and what changes it; forgotten afterwards."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    place = tmp_path / "followed"
    place.mkdir()
    (place / "__init__.py").write_text("from .module import Module\n")

    def write(text, *, broken=False):
        (place / "module.py").write_text("def broken(:\n" if broken else TEXT.format(text=text))
        return str(tmp_path)

    write("old")
    write.path = str(tmp_path)
    yield write
    for name in [name for name in sys.modules if name.startswith("followed")]:
        del sys.modules[name]


async def standby(folder, world):
    """Make ``world`` a standby that knows the module; what lets it follow."""
    world.manager.catalogue.update(await find_modules([folder.path], limit_s=5))
    settings = Settings(id="b", module_path=(folder.path,))
    return ReloadFollower(replace(world.manager, settings=settings), world.mirror.revision)


async def reloaded(world, digest):
    """The active reloads the module, whose files have ``digest`` on its host."""
    await world.put(world.keys.reload("followed"), digest)


def text(world):
    """What stands in the code that this standby would run."""
    return world.manager.catalogue["followed"].active.TEXT


async def test_a_standby_reloads_what_the_active_reloaded(folder):
    """Once for each reload; earlier ones it has seen when it imported."""
    async with world_of() as world:
        await reloaded(world, "long ago")
        follower = await standby(folder, world)
        assert await follower.catch_up() == {}

        digest = reload_module("followed", [folder("new")]).digest
        await reloaded(world, digest)
        done = await follower.catch_up(), await follower.catch_up()

        assert done == ({"followed": True}, {})
        assert text(world) == "new"
        assert world.manager.catalogue["followed"].outdated == ""


async def test_files_that_do_not_import_are_reported_and_change_nothing(folder):
    """The old code would still run; others learn from the presence that it is old."""
    async with world_of() as world:
        follower = await standby(folder, world)
        folder("", broken=True)
        await reloaded(world, "of mended files")
        done = await follower.catch_up()

        assert (done, text(world)) == ({"followed": False}, "old")
        [report] = [r for r in module_reports(world.manager.catalogue) if r.name == "followed"]
        assert report.can_run
        assert "invalid syntax" in report.outdated

        digest = reload_module("followed", [folder("mended")]).digest
        await reloaded(world, digest)
        await follower.catch_up()

        assert text(world) == "mended"
        assert world.manager.catalogue["followed"].outdated == ""


async def test_files_that_were_not_copied_are_reported(folder):
    """They import without an error, and are the old ones all the same."""
    async with world_of() as world:
        follower = await standby(folder, world)
        await reloaded(world, "of the active's files")
        await follower.catch_up()

        assert world.manager.catalogue["followed"].outdated == DIFFERENT_FILES


def test_a_digest_tells_files_and_not_places(folder, tmp_path):
    """The same release stands elsewhere on another host."""
    here = reload_module("followed", [folder("one")]).digest
    shutil.copytree(tmp_path / "followed", tmp_path / "elsewhere" / "followed")
    shutil.rmtree(tmp_path / "followed")
    sys.path.remove(str(tmp_path))
    there = reload_module("followed", [str(tmp_path / "elsewhere")]).digest

    assert here == there


async def test_libraries_that_were_installed_while_this_host_was_down_are_missed(folder, tmp_path):
    """Until they are here; a reload of the files alone does not hide it."""
    async with world_of() as world:
        await standby(folder, world)
        requirements = tmp_path / "followed" / "requirements.txt"
        requirements.write_text("colour==2.0\n")
        settings = Settings(id="b", module_path=(folder.path,), state_dir=str(tmp_path / "state"))
        manager = replace(world.manager, settings=settings)
        mark_missed_libraries(manager)
        assert manager.catalogue["followed"].outdated == ""

        await world.put(world.keys.environment("followed"), digest_of(requirements))
        mark_missed_libraries(manager)

        [report] = [r for r in module_reports(manager.catalogue) if r.name == "followed"]
        assert "not made on this host" in report.outdated
        assert (await reread_files(manager, "followed")).outdated == report.outdated

        home = tmp_path / "state" / "module-env" / "followed"
        (home / digest_of(requirements)).mkdir(parents=True)
        (home / "current").symlink_to(digest_of(requirements))
        assert (await reread_files(manager, "followed")).outdated == ""


@pytest.fixture
def installs(folder, tmp_path):
    """A standby that takes packages, and what installs one for every manager."""

    @contextlib.asynccontextmanager
    async def standby_of():
        async with world_of() as world:
            settings = Settings(id="b", module_install=True, state_dir=str(tmp_path / "state"))
            world.manager = replace(world.manager, settings=settings)
            world.follower = ReloadFollower(world.manager, world.mirror.revision)

            async def install(text, *, damage=False):
                data = archive_of({"module.py": TEXT.format(text=text).encode()}, name="followed")
                digest = hashlib.sha256(data).hexdigest()
                version = PackageVersion(digest=digest, size=len(data), at="now")
                for put in chunks(world.keys, digest, b"damaged" if damage else data):
                    await world.put(put.key, put.value)
                record = encode(InstalledModule(current=version))
                await world.put(world.keys.installed_module("followed"), record)
                await reloaded(world, f"of {text}")
                return await world.follower.catch_up()

            async def uninstall():
                done = await world.store.commit([Delete(world.keys.installed_module("followed"))])
                await world.mirror.wait_for_revision(done.revision, 5)

            world.install, world.uninstall = install, uninstall
            yield world

    return standby_of


async def test_a_standby_fetches_what_the_active_installed(installs):
    """Each version, and it says which it has; what was uninstalled is forgotten."""
    async with installs() as world:
        assert await world.install("one") == {"followed": True}
        assert text(world) == "one"
        assert await world.install("two") == {"followed": True}
        assert text(world) == "two"
        [report] = module_reports(world.manager.catalogue)
        found = installed_modules(world.mirror, world.keys)["followed"]
        assert report.package == found.current.digest

        await world.uninstall()
        assert await world.follower.catch_up() == {"followed": False}
        assert module_reports(world.manager.catalogue) == ()


async def test_a_damaged_package_is_not_used_and_named(installs):
    """The version before stays; a module that was never there is named too, until it is gone."""
    async with installs() as world:
        await world.install("first", damage=True)
        [report] = module_reports(world.manager.catalogue)
        assert "in etcd is damaged" in report.error
        await world.uninstall()
        await world.follower.catch_up()
        assert module_reports(world.manager.catalogue) == ()

        await world.install("one")
        assert await world.install("two", damage=True) == {"followed": False}
        assert text(world) == "one"
        [report] = module_reports(world.manager.catalogue)
        assert "in etcd is damaged" in report.outdated
        assert report.can_run

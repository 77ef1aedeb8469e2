"""A quarantined module is not imported, not followed and not run by a standby."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace

import pytest

from mgr.config.worker_deaths import Quarantine, encode
from mgr.host.finder import find_modules, module_reports
from mgr.host.reload import ReloadFollower, reload_module
from mgr.settings import Settings
from mgr.store.api import Delete
from tests.unit.standby.test_role import Halves, world_of

HELD_BACK = encode(Quarantine(since="2026-01-01T00:00:00"))
CODE = """
from mgr_module import MgrModule
import pathlib
with (pathlib.Path(__file__).parent / "imported").open("a") as imports:
    imports.write("x")

class Module(MgrModule):
    pass
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The folder of the module ``deadly``, which counts its imports; forgotten afterwards."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    place = tmp_path / "deadly"
    place.mkdir()
    (place / "__init__.py").write_text("from .module import Module\n")
    (place / "module.py").write_text(CODE)
    yield place
    for name in [name for name in sys.modules if name.startswith("deadly")]:
        del sys.modules[name]


def imports(package):
    """How often it was imported."""
    file = package / "imported"
    return len(file.read_text()) if file.exists() else 0


async def remove(world, key):
    """Remove ``key``; returns when the mirror shows it."""
    revision = (await world.store.commit([Delete(key)])).revision
    await world.mirror.wait_for_revision(revision, 5)


async def until(state):
    """Wait until ``state`` holds."""
    async with asyncio.timeout(10):
        while not state():  # noqa: ASYNC110 - threads are at work: there is no one event
            await asyncio.sleep(0.001)


async def test_it_is_not_imported_and_its_entry_says_why(package):
    """Others learn of it by the presence, as of any that cannot run."""
    reasons = {"deadly": "quarantined: killed 3 workers"}
    found = await find_modules(
        [str(package.parent)], limit_s=5, quarantine_reason=lambda name: reasons.get(name, "")
    )

    assert imports(package) == 0
    [report] = [each for each in module_reports(found) if each.name == "deadly"]
    assert (report.can_run, report.error) == (False, "quarantined: killed 3 workers")
    assert found["hello"].loaded


async def test_a_reload_of_it_is_not_followed_until_it_is_released(package):
    """The command that releases it writes another record, once the active has imported it."""
    settings = Settings(id="b", module_path=(str(package.parent),))
    async with world_of() as world:
        follower = ReloadFollower(replace(world.manager, settings=settings), world.mirror.revision)
        await world.put(world.keys.quarantine("deadly"), HELD_BACK)
        await world.put(world.keys.reload("deadly"), "digest")
        assert await follower.catch_up() == {"deadly": False}
        assert imports(package) == 0

        await world.put(world.keys.quarantine("other"), HELD_BACK)
        await remove(world, world.keys.quarantine("deadly"))
        digest = reload_module("deadly", [str(package.parent)]).digest
        await world.put(world.keys.reload("deadly"), digest)

        assert await follower.catch_up() == {"deadly": True}
        assert world.manager.catalogue["deadly"].loaded


async def test_it_is_read_when_it_was_released_by_whichever_manager(package):
    """Without an active any manager releases it, and none of them reloads it for the others."""
    settings = Settings(id="b", module_path=(str(package.parent),))
    async with world_of() as world:
        await world.put(world.keys.quarantine("deadly"), HELD_BACK)
        manager = replace(world.manager, settings=settings)
        found = await find_modules(
            settings.module_path, limit_s=5, quarantine_reason=manager.quarantine_reason
        )
        manager.register_module(found["deadly"])
        follower = ReloadFollower(manager, world.mirror.revision)
        assert await follower.catch_up() == {}
        assert (imports(package), manager.catalogue["deadly"].loaded) == (0, False)

        await remove(world, world.keys.quarantine("deadly"))

        assert await follower.catch_up() == {"deadly": True}
        assert manager.catalogue["deadly"].loaded
        assert await follower.catch_up() == {}


@pytest.mark.parametrize("stored", ["quarantine", "death"])
async def test_what_the_guard_could_not_store_counts_until_the_store_knows(stored):
    """From then on a release is what the store says, and it is not a worker's life long."""
    async with world_of() as world:
        manager = replace(world.manager, unstored_quarantines={"deadly": "quarantined: x"})
        manager.follow_quarantines()
        assert manager.quarantine_reason("deadly") == "quarantined: x"
        keys = world.keys
        key = (
            keys.quarantine("deadly") if stored == "quarantine" else keys.deaths_of("deadly") + "1"
        )

        await world.put(key, HELD_BACK)
        await remove(world, key)

        assert manager.quarantine_reason("deadly") == ""


async def test_its_standby_half_is_stopped_and_starts_again_when_it_is_released():
    """As if it was disabled."""
    halves = Halves()
    async with world_of(halves.found) as world:
        await world.switch("web", on=True)
        await world.lead("a")
        await until(lambda: len(halves.instances) == 1 and halves.started.is_set())

        await world.put(world.keys.quarantine("web"), HELD_BACK)
        await until(lambda: not world.role._runners)
        assert halves.stopped.is_set()

        await remove(world, world.keys.quarantine("web"))
        await until(lambda: len(halves.instances) == 2)

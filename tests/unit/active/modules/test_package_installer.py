"""Modules are installed on the active: stored, used here, and then told to the others."""

from __future__ import annotations

import base64
import hashlib
import sys
from dataclasses import replace

import pytest

from mgr.clock import CLOCK
from mgr.command.dispatch import Request
from mgr.config.installed_modules import installed_modules
from mgr.store.api import Put
from tests.support.module_archive import archive_of
from tests.unit.active.conftest import answering

TEXT = """
from mgr_module import CLIReadCommand, MgrModule, Option

class Module(MgrModule):
    MODULE_OPTIONS = [Option("mood")]

    @CLIReadCommand("greeter ask")
    def ask(self):
        "Answer"
        return 0, "{text}", ""
"""


@pytest.fixture
def installing(active, tmp_path, monkeypatch):
    """An active that takes packages; what it imported is forgotten afterwards."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield lambda *found, **more: active(
        *found, state_dir=str(tmp_path), module_install=True, **more
    )
    for name in [name for name in sys.modules if name.partition(".")[0] == "greeter"]:
        del sys.modules[name]


def package(text, **more):
    return archive_of({"module.py": TEXT.format(text=text).encode()}, **more)


async def install(cluster, data, digest=None):
    """As ``mgrctl mgr module install`` sends it; its answer."""
    request = Request(
        words=("mgr", "module", "install-package", digest or hashlib.sha256(data).hexdigest()),
        arguments={},
        input=base64.b64encode(data),
        deadline_s=CLOCK.now() + 30,
    )
    return await cluster.role.execute(request)


def stored(cluster):
    """Every key of packages, and the records."""
    return sorted(cluster.mirror.list(cluster.keys.packages)), installed_modules(
        cluster.mirror, cluster.keys
    )


async def test_a_module_is_installed_upgraded_rolled_back_and_uninstalled(installing):
    """The others follow its record and its reload, which are written together."""
    async with installing() as cluster:
        assert (await install(cluster, package("one"))).retval == 0
        await cluster.switch("greeter", on=True)
        assert (await cluster.ask("greeter", "ask")).stdout == "one"
        answer = await install(cluster, package("two"))
        assert "is installed on every manager" in answer.stderr
        assert (await cluster.ask("greeter", "ask")).stdout == "two"
        record = cluster.mirror.get(cluster.keys.installed_module("greeter"))
        reload = cluster.mirror.get(cluster.keys.reload("greeter"))
        assert record.mod_revision == reload.mod_revision

        assert (await cluster.ask("mgr", "module", "rollback", "greeter")).retval == 0
        assert (await cluster.ask("greeter", "ask")).stdout == "one"
        refused = await cluster.ask("mgr", "module", "uninstall", "greeter")
        assert "mgrctl mgr module disable greeter" in refused.stderr
        await cluster.switch("greeter", on=False)
        assert (await cluster.ask("mgr", "module", "uninstall", "greeter")).retval == 0

        assert stored(cluster) == ([], {})
        assert "greeter" not in cluster.catalogue
        assert "mgr/greeter/mood" not in (await cluster.ask("config", "ls")).stdout
        missing = await cluster.ask("mgr", "module", "rollback", "greeter")
        assert "was not installed: see mgr module installed" in missing.stderr


async def test_a_version_that_does_not_load_changes_nothing(installing):
    """Neither a first one nor the next."""
    bad = archive_of({"module.py": b"import nowhere"})
    async with installing() as cluster:
        first = await install(cluster, bad)
        assert "nothing was installed: " in first.stderr
        assert "No module named 'nowhere'" in first.stderr
        assert stored(cluster)[1] == {}
        assert "greeter" not in cluster.catalogue

        await install(cluster, package("one"))
        await cluster.switch("greeter", on=True)
        before = stored(cluster)[1]
        assert (await install(cluster, bad)).retval < 0
        assert stored(cluster)[1] == before
        assert (await cluster.ask("greeter", "ask")).stdout == "one"
        # What the attempt left in the store goes with the next one.
        await install(cluster, package("one"))
        assert len(stored(cluster)[0]) == 1
        nothing = await cluster.ask("mgr", "module", "rollback", "greeter")
        assert "nothing is before" in nothing.stderr


async def test_what_must_not_be_installed_is_refused(installing, active, monkeypatch):
    """Each with what is wrong, and nothing is stored."""
    async with installing(answering("hello")) as cluster:
        data = package("one")
        for answer, why in (
            (await install(cluster, data, "0" * 64), "not the one that was named"),
            (await install(cluster, b"no zip"), "not a package of a module"),
            (await install(cluster, package("", name="hello")), "in /hello/module.py: remove it"),
            (await install(cluster, b""), "give the package in base64"),
            (await install(cluster, bytes(1 << 20 | 1)), "has at most 1048576 bytes, not 1048577"),
        ):
            assert (answer.retval < 0, why in answer.stderr) == (True, True), answer
        monkeypatch.setattr("mgr.active.modules.package_installer.STORED_BYTES_MAX", 10)
        assert "uninstall modules that nobody needs" in (await install(cluster, data)).stderr
        assert stored(cluster) == ([], {})

    async with active() as cluster:
        assert "set module_install and state_dir" in (await install(cluster, data)).stderr


async def test_damage_in_the_store_is_named_by_a_rollback_and_mended_by_a_repetition(installing):
    """Whoever repeats the command stores the package again."""
    async with installing() as cluster:
        await install(cluster, package("one"))
        for key, record in cluster.mirror.list(cluster.keys.packages).items():
            await cluster.store.commit([Put(key, record.value[::-1])])
        await install(cluster, package("two"))

        refused = await cluster.ask("mgr", "module", "rollback", "greeter")
        assert "in etcd is damaged: install it again" in refused.stderr
        await install(cluster, package("one"))
        await install(cluster, package("two"))
        assert (await cluster.ask("mgr", "module", "rollback", "greeter")).retval == 0


async def test_health_names_the_active_itself(installing):
    """Its record is newer than its files: a write without an answer was done after all."""
    async with installing() as cluster:
        await install(cluster, package("one"))
        found = cluster.catalogue["greeter"]
        cluster.manager.register_module(replace(found, installed="", outdated="no space"))
        cluster.role._checks.update()

        checks = await cluster.health()
        assert checks["MGR_MODULE_INSTALL_INCOMPLETE"]["summary"]["message"].startswith(
            "mgr.a does not have module 'greeter'"
        )
        assert "MGR_MODULE_OUTDATED" not in checks

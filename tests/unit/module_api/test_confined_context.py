"""A manifest that is enforced: what it does not list does not happen."""

import errno
import inspect
from typing import ClassVar

import pytest

from mgr.module_api.confined_context import FREE, ConfinedContext, confined
from mgr.module_api.context import ModuleContext, StandbyContext
from mgr.module_api.manifest import Manifest
from mgr.testing.context import Context
from mgr_module import CommandResult, MgrModule, Option


class Reaches(MgrModule):
    """Reaches everything."""

    MODULE_OPTIONS: ClassVar = [Option("place", default="World")]
    MANIFEST: ClassVar = {
        "enforce": True,
        "commands": ["health"],
        "store": ["job/"],
        "options": ["friend/*", "mon_host"],
        "maps": ["racks", "mgr_map"],
        "remote": ["friend.greet"],
        "daemons": ["rgw.eu-*"],
    }


class Friend:
    def greet(self):
        return "hello"

    def drop(self):
        raise AssertionError("nobody may call this")


@pytest.fixture
def module(mgr_host):
    mgr_host.neighbours["friend"] = Friend()
    mgr_host.load(Reaches, name="reaches")
    fleet = mgr_host.context.fleet
    for name, host in (("rgw.eu-1", "h1"), ("rgw.us-1", "h2")):
        fleet.add(name, host)
        fleet.declare(name, "rgw.open")
        fleet.count(name, "rgw.open", 1.0, 5.0)
    return mgr_host.module


DENIED = {
    "get_option of another": lambda m: m.get_module_option_ex("enemy", "place"),
    "set_option of another": lambda m: m.set_module_option_ex("enemy", "place", "x"),
    "an option as another daemon reads it": lambda m: m.get_foreign_ceph_option("osd.0", "keyring"),
    "get_store": lambda m: m.get_store("other"),
    "set_store": lambda m: m.set_store("other", "x"),
    "a transaction": lambda m: m.commit_store({"job/1": "x"}, {"other": None}),
    "all of its keys": lambda m: m.get_store_prefix(""),
    "watch_store": lambda m: m.watch_store(""),
    "get": lambda m: m.get("osd_map"),
    "get_map": lambda m: m.get_map("secrets"),
    "set_map": lambda m: m.set_map("secrets", {}),
    "remove_map": lambda m: m.remove_map("secrets"),
    "remote": lambda m: m.remote("friend", "drop"),
    "remote to another": lambda m: m.remote("enemy", "greet"),
    "get_store_ex": lambda m: m.get_store_ex("friend", "key"),
    "get_metadata": lambda m: m.get_metadata("rgw", "us-1"),
    "get_daemon_status": lambda m: m.get_daemon_status("rgw", "us-1"),
    "get_counter": lambda m: m.get_counter("rgw", "us-1", "rgw.open"),
    "wear level": lambda m: m.set_device_wear_level("disk", 0.5),
}


@pytest.mark.parametrize("what", DENIED)
def test_what_is_not_listed_is_denied_by_name(module, mgr_host, what):
    """EACCES, the module, and the entry of the manifest that would allow it; nothing changed."""
    before = dict(mgr_host.store), dict(mgr_host.context.stored_options)

    with pytest.raises(PermissionError, match=r"module 'reaches' may not .*: '\w+' of its manif"):
        DENIED[what](module)

    assert (mgr_host.store, mgr_host.context.stored_options) == before
    assert mgr_host.context.wear_levels == {}


def test_what_is_listed_and_what_is_its_own_works(module, mgr_host):
    """As without a manifest."""
    module.set_module_option("place", "Rome")
    module.set_module_option_ex("friend", "place", "Oslo")
    module.set_store("job/1", "x")

    assert module.get_module_option("place") == "Rome"
    assert module.get_module_option_ex("friend", "place") == "Oslo"
    assert module.get_store_prefix("job/") == {"job/1": "x"}
    assert module.set_map("racks", {"a": []}) > 0
    assert module.get("mgr_map")["active_name"] == "a"
    assert module.get("mgr_ips")["ips"]
    assert module.remote("friend", "greet") == "hello"
    assert module.get_metadata("rgw", "eu-1")["hostname"] == "h1"
    module.set_health_checks({})
    module.cluster_log("cluster", module.ClusterLogPrio.INFO, "x")


def test_commands_are_answered_with_eacces(module, mgr_host):
    """Also those that reach the manager or a daemon by ``tell``."""
    mgr_host.answer("health", 0, "HEALTH_OK")
    mgr_host.answer("tell rgw.eu-1 flush", 0, "flushed")

    def ask(prefix, **arguments):
        return module.mon_command({"prefix": prefix, **arguments})

    assert ask("health").stdout == "HEALTH_OK"
    for refused in ("config set", "tell mgr config set", "tell mgr.a config set", "tell"):
        assert ask(refused).retval == -errno.EACCES, refused
    assert ask("tell", target="mgr", args=["config", "rm"]).retval == -errno.EACCES
    assert ask("tell", target="rgw.us-1", args=["flush"]).retval == -errno.EACCES
    assert module.tell_command("rgw", "eu-1", {"prefix": "flush"})[1] == "flushed"
    result = CommandResult()
    module.send_command(result, "mon", "", '{"prefix": "config set"}', "")
    assert result.wait()[0] == -errno.EACCES
    assert [sent[0]["prefix"] for sent in mgr_host.context.commands] == [
        "health", "tell rgw.eu-1 flush",
    ]  # fmt: skip


def test_every_daemon_is_not_the_manager():
    """``tell mgr`` is a command of the active: it needs an entry in ``commands``."""
    context = Context("m")
    held = confined(context, "m", Manifest(enforce=True, daemons=("*",), commands=("health",)))

    assert held.mon_command({"prefix": "tell rgw.a flush"}, None)[0] == 0
    assert held.mon_command({"prefix": "tell mgr health"}, None)[0] == 0
    for words in ("tell mgr config set", "tell mgr.a config set", "config set"):
        assert held.mon_command({"prefix": words}, None)[0] == -errno.EACCES, words
    assert held.run_as({}, ["tell", "mgr", "config", "set"], "")[0] == -errno.EACCES
    arguments = {"prefix": "tell", "target": "mgr.a", "args": ["config", "rm"]}
    assert held.mon_command(arguments, None)[0] == -errno.EACCES


def test_lists_leave_out_what_may_not_be_read(module, mgr_host):
    """Of the fleet, and of maps."""
    mgr_host.publish("secrets", {})
    mgr_host.publish("racks", {})

    assert [each["name"] for each in module.get_daemons()] == ["rgw.eu-1"]
    assert [server["hostname"] for server in module.list_servers()] == ["h1"]
    assert list(module.get_perf_schema("rgw", "")) == ["rgw.eu-1"]
    assert [list(entry["rows"]) for entry in module.get_counter_rows("rgw")] == [["rgw.eu-1"]]
    assert list(module.get_map_versions()) == ["racks"]
    assert set(module._context.get_daemon_health_metrics()) <= {"rgw.eu-1"}


def test_every_method_of_the_context_is_decided_about():
    """A new one is denied until it stands in ``FREE`` or is checked."""
    wanted = {
        name
        for protocol in (StandbyContext, ModuleContext)
        for name, value in vars(protocol).items()
        if not name.startswith("_") and (inspect.isfunction(value) or isinstance(value, property))
    }
    checked = {name for name in vars(ConfinedContext) if not name.startswith("_")}

    assert wanted == checked | set(FREE)
    assert not checked & set(FREE)


def test_without_enforce_nothing_is_in_between():
    """What Ceph gives is the default, at no cost."""
    context = Context("m")

    assert confined(context, "m", None) is context
    assert confined(context, "m", Manifest(commands=("health",))) is context
    assert confined(context, "m", Manifest(enforce=True)) is not context

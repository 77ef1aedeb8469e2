"""Ceph's native names, and the handlers that write through them."""

import logging

import pytest

from mgr.module_api.ceph.native import ALIASES
from mgr.module_api.log import CPlusPlusHandler, MgrRootHandler
from mgr.module_api.module import MgrModule
from mgr_module import ClusterLogPrio
from tests.support.context import run


class Module(MgrModule):
    """Nothing of its own."""


@pytest.fixture
def pair():
    return run(Module, "hello")


@pytest.mark.parametrize("name", ALIASES)
def test_a_native_name_stands_for_a_method(name):
    """Each method it names is there."""
    assert callable(getattr(Module, ALIASES[name]))


def test_native_calls_do_what_the_methods_do(pair):
    """Arguments and results are the same."""
    module, context = pair
    context.fleet.add("osd.0", "one")
    module._ceph_set_store("k", "v")
    module._ceph_cluster_log("audit", ClusterLogPrio.WARN, "line")
    module._ceph_register_client(None, "addr", 0)
    module._ceph_unregister_client(None, "addr")

    assert module._ceph_get_store("k") == "v"
    assert module._ceph_get_option("debug_mgr") == module.get_ceph_option("debug_mgr")
    assert module._ceph_get_version() == module.version
    assert module._ceph_get_release_name() == module.release_name
    assert [server["hostname"] for server in module._ceph_get_server(None)] == ["host", "one"]
    assert module._ceph_get_server("one")["hostname"] == "one"
    assert module._ceph_get_server("two") is None
    assert context.cluster_lines == [("audit", 3, "line")]


def test_options_calls_and_counters_are_reached_by_native_names(pair):
    """Of any module, by full names; a prefix prefers the value stored for this manager."""
    module, context = pair
    other, _ = run(Module, "other")
    context.neighbours["other"] = other
    module._ceph_set_module_option("hello", "log_level", "debug")
    context.stored_options[f"hello/{context.manager_id}/log_level"] = "error"

    assert module._ceph_get_module_option("hello", "log_level") == "debug"
    assert module._ceph_get_module_option("hello", "log_level", context.manager_id) == "error"
    assert module._ceph_dispatch_remote("other", "lookup_release_name", (18,), {}) == "reef"
    assert module._ceph_get_unlabeled_counter("osd", "0", "x") == {"x": []}
    module._ceph_set_module_option("hello", "log_level", None)
    assert module._ceph_get_module_option("hello", "log_level") is None


def test_notifications_can_be_sent_directly(pair):
    """For every module that asked for the kind."""
    module, context = pair
    notifications = []
    context.on_notification = lambda kind, notify_id: notifications.append((kind, notify_id))

    module._ceph_notify_all("command", "tag")

    assert notifications == [("command", "tag")]


def test_an_exit_is_the_modules_own_crash(pair):
    """It is raised; the host makes a report of it."""
    with pytest.raises(SystemExit):
        pair[0]._ceph_exit(3)


def test_an_option_is_read_as_another_would_read_it(pair):
    """One that nobody has is named."""
    module, _ = pair

    assert module.get_foreign_ceph_option("mgr.b", "debug_mgr") == "20/20"
    with pytest.raises(KeyError, match="option not found: nothing"):
        module.get_foreign_ceph_option("mgr.b", "nothing")


def test_a_logger_of_a_modules_own_can_write_to_the_managers_log(pair, caplog):
    """In ceph-mgr's form: module, level, logger, text."""
    logger = logging.Logger("library")  # noqa: LOG001 - for this test alone
    logger.addHandler(CPlusPlusHandler(pair[0]))
    root = MgrRootHandler(run(Module, "other")[0])
    root.set_module(pair[0])
    logger.addHandler(root)

    with caplog.at_level(0):
        logger.warning("odd")

    assert [record.getMessage() for record in caplog.records] == [
        "[hello WARNING library] odd",
        "[mgr WARNING library] odd",
    ]
    assert {record.name for record in caplog.records} == {"hello"}


def test_a_handler_drops_what_is_below_its_level(pair, caplog):
    """As any handler."""
    handler = CPlusPlusHandler(pair[0])
    handler.setLevel(logging.ERROR)
    logger = logging.Logger("library")  # noqa: LOG001 - for this test alone
    logger.addHandler(handler)

    with caplog.at_level(0):
        logger.warning("odd")

    assert not caplog.records


@pytest.mark.parametrize(
    ("number", "text"), [(5, "5 "), (10 << 10, "10240 "), (11 << 10, "11 Ki"), (20 << 30, "20 Gi")]
)
def test_bytes_have_a_prefix_from_ten_of_it_on(number, text):
    """As ceph-mgr writes them."""
    assert MgrModule.to_pretty_iec(number) == text


def test_a_table_has_the_given_width(pair):
    """Head and rows alike."""
    head, names, foot, end = pair[0].get_pretty_header(["a", "b"], 20).split("\n")

    assert head == foot == "+---------+---------+"
    assert names == pair[0].get_pretty_row(["a", "b"], 20) == "|       a |       b |"
    assert end == ""

"""What a module in a process of its own may ask, if its manifest is enforced."""

import errno

import pytest

from mgr.active.modules.confined_requests import ConfinedRequests
from mgr.module_api.manifest import Manifest

MANIFEST = Manifest(
    enforce=True,
    commands=("health",),
    store=("mine/",),
    options=("other/size",),
    maps=("racks",),
    remote=("other.add",),
    daemons=("host.*",),
)


@pytest.fixture
def requests():
    return ConfinedRequests("module", MANIFEST)


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("set_store", ("mine/a", "1")),
        ("set_option", ("module", "place", "x", False)),
        ("get_option", ("other", "size", False)),
        ("document", ("racks",)),
        ("map", ("racks",)),
        ("remote", ("other", "add", b"")),
        ("remote", ("module", "anything", b"")),
        ("mon_command", ({"prefix": "health"}, None)),
        ("send_command", ({"prefix": "health"}, None, "", "", 1)),
        ("get_counter", ("host", "a", "x")),
        ("set_health_checks", ({},)),
        ("load_database", ()),
    ],
)
def test_what_the_manifest_lists_passes(requests, name, args):
    """And what belongs to the module itself."""
    assert requests.check(name, args) is None


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("set_store", ("yours", "1")),
        ("commit_store", ({"mine/a": "1", "yours": "2"}, {})),
        ("get_option", ("other", "place", False)),
        ("set_option", ("other", "place", "x", False)),
        ("document", ("mgr_map",)),
        ("set_map", ("nodes", "{}", None)),
        ("remote", ("other", "remove", b"")),
        ("send_command", ({"prefix": "mgr fail"}, None, "", "", 1)),
        ("get_counter", ("osd", "1", "x")),
        ("run_as", ({}, ["health"], "")),
        ("anything_new", ()),
    ],
)
def test_what_it_does_not_list_is_denied_in_the_worker(requests, name, args):
    """Whatever the module has done to its own process."""
    with pytest.raises(PermissionError, match="module"):
        requests.check(name, args)


def test_a_command_that_is_not_listed_is_answered_so(requests):
    """As for a module in threads."""
    retval, _, text = requests.check("mon_command", ({"prefix": "mgr fail"}, None))

    assert retval == -errno.EACCES
    assert "'commands' of its manifest" in text


def test_lists_leave_out_what_may_not_be_read(requests):
    """The rest is there."""
    daemons = [{"name": "host.a"}, {"name": "osd.1"}]

    assert requests.check("get_daemons", ()) is None
    assert requests.filtered("get_daemons", (), daemons) == [{"name": "host.a"}]


def test_without_a_manifest_everything_passes():
    """As ceph-mgr gives it."""
    free = ConfinedRequests("module", None)

    assert free.check("set_store", ("yours", "1")) is None
    assert free.filtered("get_daemons", (), [1]) == [1]

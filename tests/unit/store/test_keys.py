import pytest

from mgr.errors import InvalidSettingError
from mgr.store.keys import Keys, check_name

KEYS = Keys("c1")


def test_every_key_of_a_cluster_stands_under_its_root():
    """Two clusters cannot meet by accident."""
    singles = [KEYS.leader, KEYS.term_record, KEYS.transfer]
    prefixes = [KEYS.managers, KEYS.modules, KEYS.config, KEYS.kv, KEYS.services, KEYS.mutes]
    assert all(key.startswith("/mgr/c1/") for key in (*singles, *prefixes, KEYS.requests))
    assert len({*singles, *prefixes, KEYS.requests}) == 10


def test_each_thing_has_its_key():
    """What docs/explanation/architecture.md lists."""
    assert KEYS.manager("a") == "/mgr/c1/managers/a"
    assert KEYS.module("hello") == "/mgr/c1/modules/hello"
    assert KEYS.option("mgr", "mgr/hello/place") == "/mgr/c1/config/mgr/mgr/hello/place"
    assert KEYS.entry("k") == "/mgr/c1/kv/k"
    assert KEYS.module_entry("hello", "k") == "/mgr/c1/kv/mgr/hello/k"
    assert KEYS.service("hello") == "/mgr/c1/services/hello"
    assert KEYS.mute("CODE") == "/mgr/c1/mutes/CODE"
    assert KEYS.request("id") == "/mgr/c1/requests/id"


@pytest.mark.parametrize("name", ["", "a/b", "a b", "-a", ".a", "ä", "a" * 64, "a\n"])
def test_a_name_that_would_be_a_surprise_in_a_key_is_refused(name):
    """The message says what it was to be called so."""
    with pytest.raises(InvalidSettingError, match="cluster"):
        Keys(name)


@pytest.mark.parametrize("name", ["a", "A-1_b.c", "9", "a" * 63])
def test_ordinary_names_are_taken(name):
    """Host names, among others."""
    assert check_name("id", name) == name

"""Which writes are refused so that etcd keeps a reserve."""

from __future__ import annotations

import pytest

from mgr.errors import StoreFullError
from mgr.store.api import Delete, Put, Record, Revision
from mgr.store.keys import Keys
from mgr.store.space import StoreSpace

KEYS = Keys("test")
OLD = "x" * 100


def known(key):
    """Every key has a record of a hundred characters, but those that end with ``new``."""
    if key.endswith("new"):
        return None
    return Record(key, OLD, Revision(1), Revision(1))


def space(share):
    made = StoreSpace(KEYS)
    made.observe(int(share * 1000), 1000)
    return made


GROWS = [
    Put(KEYS.daemon("osd.new"), "x"),
    Put(KEYS.map("m"), OLD + "x"),
    Put(KEYS.entry("new"), ""),
]
REPLACES = [Put(KEYS.entry("k"), OLD)]
OPTION = [Put(KEYS.option("mgr", "new"), "1")]
REQUEST = [Put(KEYS.request("r-new"), "started")]
MANAGERS = [Put(KEYS.health, OLD * 100), Put(KEYS.heartbeat, "1"), Put(KEYS.change(7), "x")]
REMOVES = [Delete(KEYS.map("m"))]


def admitted(share, operations):
    try:
        space(share).admit(operations, known)
    except StoreFullError:
        return False
    return True


@pytest.mark.parametrize(
    ("share", "refused"),
    [
        (0.5, []),
        (0.85, ["grows"]),
        (0.92, ["grows", "replaces", "option"]),
        (0.97, ["grows", "replaces", "option", "request"]),
    ],
)
def test_the_fuller_etcd_is_the_less_may_be_written(share, refused):
    """What keeps the cluster led is written always, and so are removals."""
    kinds = {"replaces": REPLACES, "option": OPTION, "request": REQUEST}
    for name, operations in kinds.items():
        assert admitted(share, operations) is (name not in refused), name
    for put in GROWS:
        assert admitted(share, [put]) is ("grows" not in refused), put.key
    assert admitted(share, MANAGERS)
    assert admitted(share, REMOVES)


def test_what_was_written_since_the_last_look_counts():
    """A client may write a lot between two looks."""
    used = space(0.7)
    used.admit([Put(KEYS.entry("new"), "x" * 200)], known)

    assert used.is_scarce
    used.observe(500, 1000)
    assert not used.is_scarce


def test_nothing_is_refused_while_the_size_is_not_known():
    """Etcd tells it to the role root only, in some releases."""
    unknown = StoreSpace(KEYS, quota_bytes=1000)
    for _ in range(100):
        unknown.admit([Put(KEYS.entry("new"), "x" * 200)], known)

    assert not unknown.is_scarce


def test_a_setting_wins_over_what_etcd_tells():
    """And etcd's default is taken where nobody tells."""
    given, default = StoreSpace(KEYS, quota_bytes=1000), StoreSpace(KEYS)
    given.observe(900, 10**9)
    default.observe(900)

    assert given.is_scarce
    assert not default.is_scarce

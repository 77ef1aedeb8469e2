"""What capabilities allow, and how they are written."""

import pytest

from mgr.access.caps import JOIN, PROFILES, AccessRequest, Caps
from mgr.errors import InvalidArgumentError

READ = AccessRequest("health", "r")
SET = AccessRequest("config set", "rw", arguments={"who": "mgr", "name": "mgr/hello/place"})
RIGHTS = AccessRequest("auth caps", "rwx")
HELLO = AccessRequest("hello", "r", "hello")
COUNT = AccessRequest("hello count", "rw", "hello")
OTHER = AccessRequest("status", "r", "status")
PUBLISH = AccessRequest("map set", "rw", arguments={"name": "racks"})
JOINS = AccessRequest(JOIN, "rw", arguments={"type": "osd", "id": "1"})
POSTS = AccessRequest("crash post", "rw", "crash")
ALL = [READ, SET, RIGHTS, HELLO, COUNT, OTHER, PUBLISH, JOINS, POSTS]


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("", []),
        ("allow *", ALL),
        ("allow all", ALL),
        ("allow rwx", ALL),
        ("allow r", [READ, HELLO, OTHER]),
        ("profile read-only", [READ, HELLO, OTHER]),
        ("allow rw", [ask for ask in ALL if ask is not RIGHTS]),
        ("profile read-write", [ask for ask in ALL if ask is not RIGHTS]),
        ("allow w", []),
        ("allow r, allow w", [ask for ask in ALL if ask is not RIGHTS]),
        ("allow x; allow rw", ALL),
        ("allow module hello r", [HELLO]),
        ("allow module hello rw", [HELLO, COUNT]),
        ("allow service py r", [HELLO, OTHER]),
        ("allow service mgr *", [READ, SET, RIGHTS, PUBLISH, JOINS]),
        ('allow command "map set"', [PUBLISH]),
        ('allow command "map  set" with name=racks', [PUBLISH]),
        ('allow command "map set" with name=other', []),
        ('allow command "map set" with nothing=racks', []),
        ('allow command "map set" with name prefix ra', [PUBLISH]),
        ('allow command "map set" with name prefix x', []),
        ('allow command "config set" with who=mgr name regex "mgr/hello/.*"', [SET]),
        ('allow command "config set" with who=mgr name regex "mgr/hello/"', []),
        ('allow command "config set" with who=osd name regex ".*"', []),
        ("profile daemon", [JOINS, POSTS]),
        ("profile crash", [POSTS]),
        (f'allow command "{JOIN}" with type=osd', [JOINS]),
        (f'allow command "{JOIN}" with type=host', []),
        ("allow r, profile daemon", [READ, HELLO, OTHER, JOINS, POSTS]),
        ("allow r,", [READ, HELLO, OTHER]),
    ],
)
def test_capabilities_allow_what_they_say_and_nothing_else(text, allowed):
    """Each of Ceph's forms; several grants add up."""
    caps = Caps.parse(text)

    assert [ask for ask in ALL if caps.allow(ask)] == allowed


@pytest.mark.parametrize(
    ("network", "address", "allowed"),
    [
        ("10.1.0.0/16", "10.1.2.3", True),
        ("10.1.0.0/16", "::ffff:10.1.2.3", True),
        ("10.1.0.0/16", "10.2.2.3", False),
        ("10.1.0.0/16", "fd00::1", False),
        ("fd00::/8", "fd00::1", True),
        ("127.0.0.1", "127.0.0.1", True),
        ("10.1.0.0/16", "", False),
        ("10.1.0.0/16", "unix:socket", False),
    ],
)
def test_a_grant_may_hold_for_one_network_only(network, address, allowed):
    """An address that is not known is in none."""
    for grant in ("allow r", "profile read-only", "allow service mgr r", 'allow command "health"'):
        assert Caps.parse(f"{grant} network {network}").allow(READ, address) is allowed


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("deny r", "begins with 'allow' or 'profile'"),
        ("allow", "letters of r, w, x is missing at the end"),
        ("allow q", "use letters of r, w, x"),
        ("allow r allow w", "separated by a comma"),
        ("allow r network nowhere", "'nowhere' does not appear to be"),
        ("allow r network 10.0.0.1/8", "has host bits set"),
        ("allow r network", "a network is missing"),
        ("profile osd", "no such profile: use read-only, read-write, crash, daemon"),
        ("allow service osd r", "no such service: use mgr or py"),
        ("allow module rbd with pool=a rw", "takes no 'with'"),
        ('allow command ""', "name is empty"),
        ('allow command "map set" with name', "'=', 'prefix' or 'regex' is missing"),
        ('allow command "map set" with name like x', "compared by '=', 'prefix' or 'regex'"),
        ('allow command "map set" with name regex "("', "invalid regular expression"),
        ('allow command "map set', "No closing quotation"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(text, words):
    """A right that was mistyped must not become another one."""
    with pytest.raises(InvalidArgumentError, match="capabilities") as refused:
        Caps.parse(text)

    assert words in str(refused.value)


def test_every_profile_can_be_written():
    """By the name under which the error offers it."""
    for name in PROFILES:
        assert Caps.parse(f"profile {name}").grants == (PROFILES[name],)

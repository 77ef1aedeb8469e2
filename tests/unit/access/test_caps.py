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
SCHEDULES = AccessRequest("rbd task list", "r", "rbd_support")
SCHEDULE = AccessRequest("rbd task add flatten", "w", "rbd_support")
ALL = [READ, SET, RIGHTS, HELLO, COUNT, OTHER, PUBLISH, JOINS, POSTS, SCHEDULES, SCHEDULE]
READS = [READ, HELLO, OTHER, SCHEDULES]


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("", []),
        ("allow *", ALL),
        ("allow all", ALL),
        ("allow rwx", ALL),
        ("allow r", READS),
        ("profile read-only", READS),
        ("allow rw", [ask for ask in ALL if ask is not RIGHTS]),
        ("profile read-write", [ask for ask in ALL if ask is not RIGHTS]),
        ("allow w", [SCHEDULE]),
        ("allow r, allow w", [ask for ask in ALL if ask is not RIGHTS]),
        ("allow x; allow rw", ALL),
        ("allow module hello r", [HELLO]),
        ("allow module hello rw", [HELLO, COUNT]),
        ("allow service py r", [HELLO, OTHER, SCHEDULES]),
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
        ("allow r, profile daemon", [READ, HELLO, OTHER, JOINS, POSTS, SCHEDULES]),
        ("allow module=hello r", [HELLO]),
        ('allow module="hello" rw', [HELLO, COUNT]),
        ("allow service=py r", [HELLO, OTHER, SCHEDULES]),
        ("allow service osd r", []),
        ("allow service=osd rwx, allow module=hello r", [HELLO]),
        ('allow command="map set"', [PUBLISH]),
        ("allow command=hello", [HELLO]),
        ("allow profile read-only", READS),
        ("allow profile=crash", [POSTS]),
        ("profile=read-only", READS),
        ('allow profile "read-only", allow *', ALL),
        ("profile rbd", [SCHEDULES, SCHEDULE]),
        ("allow profile rbd-read-only", [SCHEDULES]),
        ("profile osd", []),
        ("allow profile mds", []),
        ("profile osd, profile rbd-read-only; allow module=hello r", [HELLO, SCHEDULES]),
        (" allow\tr ", READS),
        ("\tallow\nrwx\t", ALL),
        ('allow command "map set" with name = "racks"', [PUBLISH]),
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
        ("10.1.2.3/16", "10.1.9.9", True),
        ("10.1.2.3/16", "10.2.2.3", False),
        ("fd00::7/8", "fd11::1", True),
        ("[fd00::]/8", "fd00::1", True),
        ("[::]/0", "fd00::1", True),
        ("[::]/0", "10.1.2.3", False),
        ("[fd00::1]", "fd00::1", True),
        ("0.0.0.0/0", "10.1.2.3", True),
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
        ("allow r network [::/8", "does not appear to be"),
        ("allow r network 10.0.0.0/33", "does not appear to be"),
        ("allow r,", "a grant is missing after the last comma"),
        ("allow r, ", "a grant is missing after the last comma"),
        ("profile crash;", "a grant is missing after the last comma"),
        (",", "begins with 'allow' or 'profile'"),
        ("allow r,, allow w", "separated by a comma"),
        ("allow*", "begins with 'allow' or 'profile'"),
        ("ALLOW r", "begins with 'allow' or 'profile'"),
        ("allow r w", "separated by a comma"),
        ("allow profile", "the profile's name is missing at the end"),
        ("allow profile read-only rwx", "takes no conditions"),
        ("profile rbd pool=images", "the profile 'rbd' takes no conditions"),
        ("profile rbd with pool=images", "the profile 'rbd' takes no conditions"),
        ("allow service mgr", "letters of r, w, x is missing"),
        ("allow service = , allow r", "the service's name is empty"),
        ("allow module= r", "letters of r, w, x is missing"),
        ("allow command hello x", "separated by a comma"),
        ("allow command hello a prefix b", "separated by a comma"),
        ("allow command hello with a prefixb", "a value is missing"),
        ("allow command hello with a prefix b c", "'=', 'prefix' or 'regex' is missing"),
        ("allow r network", "a network is missing"),
        ("profile osdd", "no such profile: use read-only, read-write, crash, daemon, rbd"),
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

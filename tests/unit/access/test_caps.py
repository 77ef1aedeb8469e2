"""What capabilities allow, and how they are written."""

import pytest

from mgr.access.caps import HEALTH, JOIN, PROFILES, AccessRequest, Caps, Subject, matches_pattern
from mgr.access.identity import Identity, Kind
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

    disk = Subject("127.0.0.1", Identity(Kind.CN, "osd.1"))

    assert [ask for ask in ALL if caps.allow(ask, disk)] == allowed


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
        assert Caps.parse(f"{grant} network {network}").allow(READ, Subject(address)) is allowed


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
        ("allow role", "the role's name is missing at the end"),
        ("role viewer rw", "separated by a comma"),
        ("profile crash name=x.y", "the profile 'crash' takes no conditions"),
        ("profile daemon name", "the daemon's name is missing"),
        ("profile daemon name=web", "daemons are named <type>.<id>"),
        ("profile daemon name=*", "daemons are named <type>.<id>"),
        ("profile daemon name=*.eu-1", "daemons are named <type>.<id>"),
        ("profile daemon name=host.* rw", "takes no conditions"),
        ("profile osdd", "no such profile: use read-only, read-write, crash, daemon, manager, rbd"),
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


def daemon(name, command=JOIN, **arguments):
    """The request of a daemon that joins, or reports a health code."""
    kind, _, ident = name.partition(".")
    return AccessRequest(command, "rw", arguments={"type": kind, "id": ident, **arguments})


@pytest.mark.parametrize(
    ("caps", "client", "allowed"),
    [
        ("profile daemon", "host.db1", ["host.db1", "unit.nginx@db1", "osd.3@db1"]),
        ("profile daemon", "host.x@db1", ["host.x@db1"]),
        ("profile daemon", "osd.3", ["osd.3"]),
        ("profile daemon", "agents", []),
        ("profile daemon", "host.", []),
        ("profile daemon", "host", []),
        ("profile daemon name=host.*", "agents", ["host.db1", "host.db2", "host.x@db1"]),
        ("profile daemon name=host.db1", "agents", ["host.db1"]),
        ("profile daemon name='*t.db1'", "agents", None),
        (
            "profile daemon name=unit.*@db1, profile daemon name=osd.3",
            "a",
            ["unit.nginx@db1", "osd.3"],
        ),
        ('allow command "daemon join" with type=osd', "a", ["osd.3", "osd.3@db1"]),
        ("allow r", "host.db1", []),
    ],
)
def test_a_daemon_joins_under_the_names_that_are_its_own(caps, client, allowed):
    """Its client's name; those of its host's agent; or a pattern that its entry has."""
    names = ["host.db1", "host.db2", "host.x@db1", "unit.nginx@db1", "osd.3", "osd.3@db1"]
    names.append("unit.nginx@xdb1")
    subject = Subject("10.0.0.1", Identity(Kind.CN, client))
    if allowed is None:
        with pytest.raises(InvalidArgumentError):
            Caps.parse(caps)
        return

    assert [name for name in names if Caps.parse(caps).allow(daemon(name), subject)] == allowed


@pytest.mark.parametrize(
    ("caps", "client", "name", "codes"),
    [
        ("profile daemon", "osd.3", "osd.3", ["OSD_SLOW"]),
        ("profile daemon", "osd.3", "osd.4", []),
        ("profile daemon", "host.db1", "host.db1", ["HOST_HOT"]),
        ("profile daemon", "host.db1", "osd.3@db1", ["OSD_SLOW", "HOST_HOT", "UNIT_FAILED"]),
        ("profile daemon name=web-eu.*", "web", "web-eu.1", ["WEB_EU_DOWN"]),
        ('allow command "daemon health" with code=RECENT_CRASH', "x", "osd.3", ["RECENT_CRASH"]),
        ("allow *", "x", "osd.3", None),
    ],
)
def test_a_daemon_reports_the_health_codes_of_its_type(caps, client, name, codes):
    """So that a disk does not say that hosts are down, or that there was a crash."""
    asked = [
        "OSD_SLOW",
        "HOST_HOT",
        "UNIT_FAILED",
        "WEB_EU_DOWN",
        "RECENT_CRASH",
        "OSDX",
        "HEALTH_OK",
    ]
    subject = Subject("10.0.0.1", Identity(Kind.CN, client))
    found = [
        code for code in asked if Caps.parse(caps).allow(daemon(name, HEALTH, code=code), subject)
    ]

    assert found == (asked if codes is None else codes)


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("host.*", "host.a", True),
        ("host.*", "host.", True),
        ("host.*", "hosts.a", False),
        ("a.*b*c", "a.xbyc", True),
        ("a.*b*c", "a.c", False),
        ("a.b*b", "a.b", False),
        ("a.*x", "a.xx", True),
        ("a.?", "a.b", False),
        ("a.[b]", "a.b", False),
        ("a." + "*a" * 200, "a." + "a" * 100_000 + "b", False),
    ],
)
def test_a_star_stands_for_any_characters(pattern, name, fits):
    """And nothing else has a meaning; the time is linear."""
    assert matches_pattern(name, pattern) is fits

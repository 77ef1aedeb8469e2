"""Who may do what: entries, roles, the first administrator, and nobody."""

import pytest

from mgr.access import table
from mgr.access.caps import JOIN, AccessRequest
from mgr.access.identity import INTERNAL_CALLER, Caller, Identity, Kind
from mgr.access.protection import Protection, encode
from mgr.access.tokens import encode as encode_token
from mgr.access.tokens import new_token
from mgr.clock import wall_s
from mgr.errors import NotAuthenticatedError, NotAuthorizedError
from tests.support.leading import leading

READ, WRITE = AccessRequest("health", "r"), AccessRequest("config set", "rw")
CHANGE, ASK = AccessRequest("auth caps", "rwx"), AccessRequest("auth whoami", "")
SECRET = AccessRequest("config-key get", "rx")
ADA, BOB = Caller("ada", "127.0.0.1"), Caller("bob", "127.0.0.1")
ANYBODY = Caller.anonymous("127.0.0.1")


def may(term, caller):
    """Which of the five requests ``caller`` may make."""
    asked = (ASK, READ, WRITE, SECRET, CHANGE)
    return [each.command for each in asked if term.access.is_allowed(caller, each)]


ALL = ["auth whoami", "health", "config set", "config-key get", "auth caps"]


async def put(term, entries):
    for client, caps in entries.items():
        await term.fenced.put(term.keys.access_of(client), caps)


async def protect(term, **fields):
    await term.fenced.put(term.keys.protection, encode(Protection(**fields)))


async def test_a_cluster_that_was_never_protected_is_open_to_the_nameless_only():
    """A demo without TLS works; a certificate alone gives no right."""
    async with leading() as term:
        assert may(term, ANYBODY) == may(term, INTERNAL_CALLER) == ALL
        assert may(term, ADA) == ["auth whoami"]
        assert not term.access.required


@pytest.mark.parametrize("admin", ["ops", "dns:ops.example.org", "token:ops"])
async def test_an_empty_table_denies_everybody_but_the_first_administrator(admin):
    """Named when the cluster was made; it may do everything until an entry exists."""
    first = Identity.of_entry(admin)
    ops = Caller(first.name, "127.0.0.1", first.kind)
    async with leading() as term:
        await protect(term, admin=admin)
        alone = may(term, ops), may(term, ADA), may(term, ANYBODY), may(term, INTERNAL_CALLER)
        await put(term, {"ada": "allow r"})

        assert alone == (ALL, ["auth whoami"], [], ALL)
        assert may(term, ops) == ["auth whoami"]


async def test_entries_bind_also_where_no_record_demands_authentication():
    """An earlier release wrote them: a manager without TLS must not open everything."""
    async with leading() as term:
        await put(term, {"ada": "allow r"})

        assert term.access.required
        assert may(term, ANYBODY) == []
        assert may(term, BOB) == ["auth whoami"]
        assert may(term, ADA) == ["auth whoami", "health"]
        with pytest.raises(NotAuthenticatedError, match="demands a client certificate or a token"):
            term.access.check(ANYBODY, READ)
        with pytest.raises(NotAuthorizedError, match=r"'bob' may not do 'health' \(needs r\)"):
            term.access.check(BOB, READ)


async def test_a_cluster_can_stop_demanding_authentication():
    """On purpose: then entries bind those who have a name, and nobody else."""
    async with leading() as term:
        await put(term, {"ada": "allow r"})
        await protect(term, required=False)

        assert may(term, ANYBODY) == ALL
        assert may(term, ADA) == ["auth whoami", "health"]


async def test_a_record_of_protection_that_cannot_be_read_protects():
    """A newer release, or a hand in etcd, wrote it."""
    async with leading() as term:
        await term.fenced.put(term.keys.protection, "{nonsense")

        assert term.access.required
        assert may(term, ANYBODY) == []


async def test_a_star_stands_for_all_that_have_nothing_of_their_own():
    """Not for those that have: theirs may be less. And not for those without a name."""
    async with leading() as term:
        await put(term, {"*": "allow rw", "ada": "allow r"})

        assert term.access.is_allowed(BOB, WRITE)
        assert not term.access.is_allowed(ADA, WRITE)
        assert may(term, ANYBODY) == []


async def test_the_first_name_that_has_an_entry_counts():
    """Common name, then URI, then DNS name; kinds are not mixed up."""
    uri = Identity(Kind.URI, "spiffe://a/robot")
    caller = Caller("robot", "127.0.0.1", others=(uri, Identity(Kind.DNS, "ops")))
    async with leading() as term:
        await put(term, {"ops": "allow *", "token:robot": "allow *"})
        neither = may(term, caller)
        await put(term, {"dns:ops": "allow r"})
        by_domain = may(term, caller)
        await put(term, {"uri:spiffe://a/robot": "allow rw"})
        by_uri = may(term, caller)

    assert (neither, by_domain) == (["auth whoami"], ["auth whoami", "health"])
    assert by_uri == ["auth whoami", "health", "config set"]


async def test_secrets_need_more_than_to_read_and_write_everything():
    """As in Ceph: ``allow *``, or the very command."""
    async with leading() as term:
        await put(term, {"ada": "allow rw", "bob": 'allow command "config-key get"'})

        assert not term.access.is_allowed(ADA, SECRET)
        assert term.access.is_allowed(BOB, SECRET)


async def test_a_role_stands_for_its_capabilities():
    """Built in, or made; changed for all that have it at once; unknown ones allow nothing."""
    async with leading() as term:
        await put(
            term,
            {
                "ada": "allow role operator",
                "bob": "role greeter, allow role nothing",
                "cy": "role viewer network 10.0.0.0/8",
                "dan": "role nested",
            },
        )
        before = may(term, BOB)
        await term.fenced.put(term.keys.role("greeter"), "allow command health")
        await term.fenced.put(term.keys.role("nested"), "role admin")
        await term.fenced.put(term.keys.role("operator"), "allow *")

        assert (before, may(term, BOB)) == (["auth whoami"], ["auth whoami", "health"])
        assert may(term, ADA) == ["auth whoami", "health", "config set"]
        assert may(term, Caller("cy", "10.1.1.1")) == ["auth whoami", "health"]
        assert may(term, Caller("cy", "11.1.1.1")) == may(term, Caller("dan")) == ["auth whoami"]


async def test_no_right_outlives_what_gave_it():
    """Neither a certificate's nor a token's; a removed token ends at once."""
    now_s = wall_s()
    ident, _, record = new_token("ada", lifetime_s=60, by="ops")
    async with leading() as term:
        await put(term, {"ada": "allow *", "token:ada": "allow *"})
        await term.fenced.put(term.keys.token(ident), encode_token(record))
        good = Caller("ada", expires_s=now_s + 60)
        ended = Caller("ada", expires_s=now_s - 1)
        token = Caller("ada", kind=Kind.TOKEN, expires_s=now_s + 60, token_id=ident)
        with_token = may(term, token)
        await term.fenced.delete(term.keys.token(ident))

        assert (may(term, good), with_token) == (ALL, ALL)
        assert (may(term, ended), may(term, token)) == ([], [])
        with pytest.raises(NotAuthenticatedError, match="certificate has expired"):
            term.access.check(ended, ASK)
        with pytest.raises(NotAuthenticatedError, match="token was removed"):
            term.access.check(token, ASK)


def permitted(term, caller, request):
    """Whether a check passes."""
    try:
        term.access.check(caller, request)
    except NotAuthorizedError:
        return False
    return True


async def test_a_result_that_is_remembered_ends_with_any_change_of_the_table():
    """Of an entry, of a role, of the protection, and of the token."""
    ident, _, record = new_token("ada", lifetime_s=60, by="ops")
    token = Caller("ada", kind=Kind.TOKEN, expires_s=wall_s() + 60, token_id=ident)
    async with leading() as term:
        await term.fenced.put(term.keys.token(ident), encode_token(record))
        await term.fenced.put(term.keys.role("reader"), "allow r")
        await put(term, {"ada": "allow r", "bob": "allow role reader", "token:ada": "allow r"})
        await protect(term, required=False)
        callers = (ADA, BOB, token, ANYBODY)
        assert [term.access.check(each, READ) for each in callers] == [True] * 4

        for change in (
            put(term, {"ada": "allow w"}),
            term.fenced.put(term.keys.role("reader"), "allow w"),
            term.fenced.delete(term.keys.token(ident)),
            protect(term),
        ):
            await change
        assert [permitted(term, each, READ) for each in callers] == [False] * 4


async def test_a_remembered_result_ends_with_its_certificate(monkeypatch):
    """Time alone changes no key."""
    now_s = wall_s()
    monkeypatch.setattr(table, "wall_s", lambda: now_s)
    short = Caller("ada", expires_s=now_s + 60)
    async with leading() as term:
        await put(term, {"ada": "allow r"})
        assert term.access.check(short, READ)
        now_s += 61

        assert not permitted(term, short, READ)


async def test_what_depends_on_arguments_is_asked_with_each():
    """An earlier argument that fitted says nothing about the next one."""
    async with leading() as term:
        await put(term, {"ada": 'allow command "map set" with name=a', "bob": "allow *"})
        a, b, unparsed = (
            AccessRequest("map set", "rw", arguments=arguments)
            for arguments in ({"name": "a"}, {"name": "b"}, None)
        )

        assert [term.access.check(ADA, each) for each in (unparsed, a)] == [False, False]
        assert [permitted(term, ADA, each) for each in (a, b, unparsed)] == [True, False, True]
        assert term.access.check(BOB, unparsed)
        assert term.access.check(BOB, b)


async def test_who_is_authenticated_may_ask_who_it_is():
    """The refusal sends everybody there."""
    async with leading() as term:
        await protect(term)

        term.access.check(ADA, ASK)
        with pytest.raises(NotAuthenticatedError):
            term.access.check(ANYBODY, ASK)


@pytest.mark.parametrize(
    ("entries", "found"),
    [
        ({}, False),
        ({"ops": "allow *"}, True),
        ({"ops": "role admin"}, True),
        ({"ops": "allow rw"}, False),
        ({"*": "allow *"}, False),
        ({"ops": "allow * network 10.0.0.0/8"}, False),
        ({"token:gone": "allow *"}, False),
        ({"no client": "allow *"}, False),
        ({"ops": "allow rw", "dns:ops": "allow *"}, True),
    ],
)
async def test_an_administrator_is_a_named_client_who_can_come(entries, found):
    """From everywhere, and with a certificate or a token that exists."""
    async with leading() as term:
        await put(term, entries)

        assert term.access.has_administrator() is found


async def test_what_cannot_be_read_allows_nothing():
    """A newer release, or a hand in etcd, wrote it."""
    async with leading() as term:
        await put(term, {"ada": "permit everything"})

        assert not term.access.is_allowed(ADA, READ)


async def test_what_release_0_1_0_stored_is_still_read():
    """It took a comma at the end; an upgrade must not take anybody's rights."""
    async with leading() as term:
        await put(term, {"ada": "allow r, "})

        assert term.access.is_allowed(ADA, READ)
        assert not term.access.is_allowed(ADA, WRITE)


async def test_a_daemon_is_who_its_entry_says():
    """Its own name counts in the kind of which the entry is."""

    def joins(caller, ident):
        asked = AccessRequest(JOIN, "rw", arguments={"type": "host", "id": ident})
        return term.access.is_allowed(caller, asked)

    by_domain = Caller("agents", others=(Identity(Kind.DNS, "host.db1"),))
    async with leading() as term:
        await put(term, {"dns:host.db1": "profile daemon", "*": "profile daemon"})

        assert joins(by_domain, "db1")
        assert not joins(by_domain, "db2")
        assert joins(Caller("host.db2"), "db2")
        assert not joins(Caller("host.db2"), "db1")


async def test_a_user_of_the_host_needs_an_entry_where_the_cluster_is_protected():
    """Neither the kernel's word nor a star opens it; where nothing is demanded, all is open."""
    user = Caller("1000", "", Kind.UID)
    async with leading() as term:
        unprotected = may(term, user)
        await put(term, {"*": "allow *", "uid:0": "allow *"})
        without_entry = may(term, user), may(term, Caller("0", "", Kind.UID))
        await put(term, {"uid:1000": "allow rw"})

        assert unprotected == ALL
        assert without_entry == (["auth whoami"], ALL)
        assert may(term, user) == ["auth whoami", "health", "config set"]


async def test_a_user_of_the_host_is_not_the_last_administrator():
    """The socket of the manager that leads tomorrow may not be configured."""
    async with leading() as term:
        await protect(term, admin="ops")
        await put(term, {"uid:0": "allow *"})

        assert not term.access.has_administrator()

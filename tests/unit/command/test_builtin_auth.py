"""``auth``: capabilities, roles and tokens are given, shown and taken, and nobody is locked out."""

import asyncio
import errno
import re

import pytest

from mgr.access.authenticator import Authenticator, Peer
from mgr.access.identity import INTERNAL_CALLER, Caller, Kind
from mgr.access.protection import Protection, decode, encode
from mgr.config.enabled_modules import DEFAULT_ENABLED, RESTRICTED
from mgr.errors import NotAuthorizedError
from tests.support.builtin_commands import builtin_commands

OPS, MONITOR = Caller("ops", "127.0.0.1"), Caller("monitor", "127.0.0.1")
PLAIN = Caller.anonymous("127.0.0.1")


class Desk:
    """The commands of a protected cluster whose first administrator is ``ops``."""

    def __init__(self, at):
        self.at = at
        self.term = at.leading_term

    async def ops(self, *words, **arguments):
        return await self.at.run(*words, caller=OPS, **arguments)

    def entries(self):
        return dict(self.term.access.entries())


async def protected(at, admin="ops"):
    term = at.leading_term
    await term.fenced.put(term.keys.protection, encode(Protection(admin=admin)))
    return Desk(at)


async def test_capabilities_are_given_shown_and_taken():
    """And the audit log says by whom."""
    async with builtin_commands() as at:
        desk = await protected(at)
        given = await desk.ops("auth", "caps", "monitor", "allow r")
        shown = await desk.ops("auth", "get", "monitor")
        listed = await at.json("auth", "ls")
        who = await at.run("auth", "whoami", caller=MONITOR)
        taken = await desk.ops("auth", "rm", "cn:monitor")
        again = await desk.ops("auth", "rm", "monitor")
        missing = await desk.ops("auth", "get", "monitor")
        nothing = await at.run("auth", "whoami", caller=MONITOR)
        with at.log.subscribe(past=10) as reader:
            lines = [(entry.channel, entry.message) for entry in reader.past]

    assert given.stderr == "client 'monitor' may do: allow r"
    assert (shown.stdout.strip(), who.stdout.strip()) == ("allow r", "monitor: allow r")
    assert listed == {
        "auth_dump": [
            {"entity": "client.monitor", "client": "monitor", "caps": {"mgr": "allow r"}},
            {"entity": "client.ops", "client": "ops", "caps": {"mgr": "allow *"}},
        ]
    }
    assert taken.stderr == "client 'monitor' has no capabilities of its own now"
    assert (again.retval, missing.retval) == (0, -errno.ENOENT)
    assert nothing.stdout.strip() == "monitor: nothing"
    assert lines[0] == ("audit", "client 'monitor' may do: allow r (by client 'ops')")


async def test_an_empty_table_says_who_may_do_anything():
    """Nobody should take it for one that lets everybody do everything, or the other way round."""
    async with builtin_commands() as at:
        open_to_all = await at.run("auth", "ls")
        desk = await protected(at)
        listed = await desk.ops("auth", "ls")
        who = await desk.ops("auth", "whoami")

    assert "everybody who needs no certificate may do everything" in open_to_all.stderr
    assert listed.stderr == "no capabilities are stored: only 'ops' may do anything"
    assert who.stdout.strip() == "ops: allow *"


@pytest.mark.parametrize(
    "words",
    [
        ("auth", "caps", "ops", "allow rw"),
        ("auth", "caps", "ops", "allow * network 10.0.0.0/8"),
        ("auth", "caps", "ops", "role viewer"),
        ("auth", "rm", "ops"),
    ],
)
async def test_nobody_shuts_himself_out(words):
    """Also not by the first entry of all, which makes the first administrator an entry too."""
    async with builtin_commands() as at:
        desk = await protected(at)
        await desk.ops("auth", "caps", "boss", "allow *")
        refused = await desk.ops(*words)

        assert refused.retval == -errno.EPERM
        assert "give yourself 'allow *' first" in refused.stderr
        assert desk.entries() == {"boss": "allow *", "ops": "allow *"}


@pytest.mark.parametrize("change", ["rm", "caps", "role", "token"])
async def test_the_last_administrator_stays(change):
    """Whichever way it is tried, and also by a module of the manager itself."""
    async with builtin_commands() as at:
        desk = await protected(at)
        await desk.ops("auth", "role", "set", "boss", "allow *")
        made = await desk.ops("auth", "token", "create", "root", "role boss")
        await desk.ops("auth", "caps", "ops", "allow *")
        ident = made.stdout.partition(".")[0]
        at_all = INTERNAL_CALLER
        if change in {"role", "token"}:
            # From here on only the token is an administrator.
            assert (await at.run("auth", "rm", "ops", caller=at_all)).retval == 0
        refused = await {
            "rm": lambda: at.run("auth", "rm", "ops", caller=at_all),
            "caps": lambda: at.run("auth", "caps", "ops", "allow r", caller=at_all),
            "role": lambda: at.run("auth", "role", "set", "boss", "allow r", caller=at_all),
            "token": lambda: at.run("auth", "token", "rm", ident, caller=at_all),
        }[change]()
        if change in {"rm", "caps"}:
            # There is the token still; without it, nobody.
            assert refused.retval == 0
            refused = await at.run("auth", "token", "rm", ident, caller=at_all)

        assert refused.retval == -errno.EPERM
        assert "leave nobody who may change capabilities" in refused.stderr
        assert desk.term.access.has_administrator()


async def test_two_administrators_cannot_remove_each_other():
    """Both ask at once: one of them finds that it may not any more."""
    boss = Caller("boss", "127.0.0.1")
    async with builtin_commands() as at:
        desk = await protected(at)
        await desk.ops("auth", "caps", "boss", "allow *")
        async with asyncio.TaskGroup() as tasks:
            asked = [
                tasks.create_task(at.run("auth", "rm", name, caller=caller))
                for name, caller in (("boss", OPS), ("ops", boss))
            ]

        assert sorted(task.result().retval for task in asked) == [-errno.EPERM, 0]
        assert len(desk.entries()) == 1


async def test_the_first_entry_makes_the_cluster_demand_authentication():
    """In the transaction that writes the entry; a module's entry is one as well."""
    async with builtin_commands() as at:
        term = at.leading_term
        await at.run("auth", "caps", "ops", "allow *")
        first = term.mirror.get(term.keys.protection)
        entry = term.mirror.get(term.keys.access_of("ops"))

        assert decode(first.value).required
        assert first.create_revision == entry.create_revision
        assert term.access.required


async def test_authentication_can_be_demanded_and_not_demanded():
    """The first administrator stays the same; the dangerous way needs a word more."""
    async with builtin_commands() as at:
        desk = await protected(at)
        await desk.ops("auth", "caps", "ops", "allow *")
        slip = await desk.ops("auth", "unrequire")
        off = await desk.ops("auth", "unrequire", "--yes-i-really-mean-it")
        open_to_all = not desk.term.access.required
        on = await desk.ops("auth", "require")

        assert (slip.retval, off.retval, on.retval) == (-errno.EPERM, 0, 0)
        assert "--yes-i-really-mean-it" in slip.stderr
        assert open_to_all
        assert desk.term.access.required
        assert desk.term.access.protection.admin == "ops"


async def test_where_clients_show_no_certificate_capabilities_are_refused():
    """They would bind nobody, and look as if they did."""
    async with builtin_commands() as at:
        for words in (
            ("auth", "caps", "monitor", "allow r"),
            ("auth", "require"),
            ("auth", "token", "create", "ada"),
            ("auth", "role", "set", "x", "allow r"),
        ):
            refused = await at.run(*words, caller=PLAIN)
            assert refused.retval == -errno.EPERM, words
            assert "set tls_ca in the settings of every manager first" in refused.stderr
        who = await at.run("auth", "whoami", caller=PLAIN)

    assert "demands no authentication" in who.stderr


async def test_what_cannot_be_read_is_not_stored():
    """Neither a wrong capability, nor a name that no client has, nor a role that does not exist."""
    async with builtin_commands() as at:
        desk = await protected(at)
        wrong = await desk.ops("auth", "caps", "monitor", "allow everything")
        unnamed = await desk.ops("auth", "caps", "a b", "allow r")
        unknown = await desk.ops("auth", "caps", "monitor", "allow role vewer")
        nested = await desk.ops("auth", "role", "set", "x", "role viewer")
        taken = await desk.ops("auth", "role", "set", "admin", "allow r")

        assert desk.entries() == {}
    assert (wrong.retval, unnamed.retval) == (-errno.EINVAL, -errno.EINVAL)
    assert "use letters of r, w, x" in wrong.stderr
    assert (unknown.retval, nested.retval, taken.retval) == (
        -errno.ENOENT,
        -errno.EINVAL,
        -errno.EINVAL,
    )


async def test_roles_are_made_listed_used_and_removed():
    """A role in use stays."""
    async with builtin_commands() as at:
        desk = await protected(at)
        await desk.ops("auth", "role", "set", "greeter", "allow module hello rw")
        await desk.ops("auth", "caps", "monitor", "allow role greeter")
        listed = await at.json("auth", "role", "ls")
        used = await desk.ops("auth", "role", "rm", "greeter")
        await desk.ops("auth", "rm", "monitor")
        removed = await desk.ops("auth", "role", "rm", "greeter")
        again = await desk.ops("auth", "role", "rm", "greeter")

    assert [(each["role"], each["builtin"]) for each in listed] == [
        ("viewer", True),
        ("operator", True),
        ("admin", True),
        ("greeter", False),
    ]
    assert used.retval == -errno.EPERM
    assert "is granted to monitor" in used.stderr
    assert (removed.stderr, again.stderr) == (
        "role 'greeter' is removed",
        "there is no role 'greeter'",
    )


async def test_a_token_is_made_used_listed_and_removed():
    """Its secret is shown once; what is stored and listed has the digest at most."""
    async with builtin_commands() as at:
        desk = await protected(at)
        made = await desk.ops("auth", "token", "create", "ada", "role viewer", expires="1h")
        text = made.stdout.strip()
        authenticator = Authenticator(desk.term.access.tokens, certificates=True)
        peer = Peer("10.0.0.1", b"", f"Bearer {text}", encrypted=True)
        ada = authenticator.identify(peer)
        who = await at.run("auth", "whoami", caller=ada)
        listed = await at.json("auth", "token", "ls")
        shown = await desk.ops("auth", "token", "ls")
        removed = await desk.ops("auth", "token", "rm", text)
        again = await desk.ops("auth", "token", "rm", text.partition(".")[0])
        stored = " ".join(each.value for each in desk.term.mirror.list("/").values())
        with at.log.subscribe(past=10) as reader:
            lines = " ".join(entry.message for entry in reader.past)

    assert re.fullmatch(r"[a-z0-9]{12}\.[A-Za-z0-9_-]{43}", text)
    assert who.stdout.strip() == "token:ada: role viewer"
    assert ada.kind is Kind.TOKEN
    secret = text.partition(".")[2]
    for where in (shown.stdout, made.stderr, str(listed), lines, stored):
        assert secret not in where
    assert (listed[0]["client"], listed[0]["expired"]) == ("token:ada", False)
    assert removed.stderr.endswith("of client 'token:ada' is removed")
    assert again.stderr.startswith("there is no token")


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        (("a b",), {}),
        (("ada",), {"expires": "soon"}),
        (("ada",), {"expires": "0"}),
        (("ada",), {"expires": "20y"}),
        (("ada", "allow q"), {}),
    ],
)
async def test_a_token_that_makes_no_sense_is_not_made(words, arguments):
    """Nothing is stored."""
    async with builtin_commands() as at:
        desk = await protected(at)
        refused = await desk.ops("auth", "token", "create", *words, **arguments)

        assert refused.retval == -errno.EINVAL
        assert not list(desk.term.access.tokens.all())


async def test_a_command_of_the_manager_asks_when_its_turn_has_come():
    """It may have waited for the term; what was taken away meanwhile does not count."""

    def permit():
        raise NotAuthorizedError("not any more")

    async with builtin_commands() as at:
        command, arguments = at.registry.find(("config-key", "set", "k", "v"), {})
        with pytest.raises(NotAuthorizedError):
            await at._runner.run(
                command, arguments, "", deadline_s=float("inf"), caller=OPS, permit=permit
            )

        assert at.stored(at.leading_term.keys.entry("k")) is None


@pytest.mark.parametrize("force", [(), ("--force",)])
@pytest.mark.parametrize("module", sorted(RESTRICTED))
async def test_a_module_that_gives_more_than_its_commands_is_enabled_by_who_may_do_all(
    module, force
):
    """``selftest`` ends the manager; ``allow rw`` must not be enough to get its commands."""
    async with builtin_commands() as at:
        desk = await protected(at)
        await desk.ops("auth", "caps", "monitor", "allow rw")
        with pytest.raises(NotAuthorizedError, match="needs rwx"):
            await at.run("mgr", "module", "enable", module, *force, caller=MONITOR)
        assert at.stored(desk.term.keys.module(module)) is None
        await at.run("mgr", "module", "enable", "hello", caller=MONITOR)

        await desk.ops("mgr", "module", "enable", module, "--force")
        assert at.stored(desk.term.keys.module(module)) is not None
        await desk.ops("mgr", "module", "disable", module)
        chosen = f'allow rw, allow command "mgr module enable" with module={module}'
        await desk.ops("auth", "caps", "monitor", chosen)
        await at.run("mgr", "module", "enable", module, "--force", caller=MONITOR)


def test_no_such_module_is_enabled_by_default():
    """A new cluster has none of them."""
    assert not RESTRICTED & DEFAULT_ENABLED

"""``auth``: capabilities are given, shown and taken, and nobody locks himself out."""

import errno

import pytest

from mgr.access.table import Caller
from tests.support.builtin_commands import builtin_commands

OPS, MONITOR = Caller("ops", "127.0.0.1"), Caller("monitor", "127.0.0.1")
PLAIN = Caller(None, "127.0.0.1")


async def test_capabilities_are_given_shown_and_taken():
    """And the audit log says by whom."""
    async with builtin_commands() as at:
        await at.run("auth", "caps", "ops", "allow *", caller=OPS)
        given = await at.run("auth", "caps", "monitor", "allow r", caller=OPS)
        shown = await at.run("auth", "get", "monitor", caller=OPS)
        listed = await at.json("auth", "ls")
        who = await at.run("auth", "whoami", caller=MONITOR)
        taken = await at.run("auth", "rm", "monitor", caller=OPS)
        again = await at.run("auth", "rm", "monitor", caller=OPS)
        missing = await at.run("auth", "get", "monitor", caller=OPS)
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
    assert lines[1] == ("audit", "client 'monitor' may do: allow r (by client 'ops')")


async def test_an_empty_table_says_so():
    """Nobody should take it for one that shuts everybody out."""
    async with builtin_commands() as at:
        listed = await at.run("auth", "ls")
        who = await at.run("auth", "whoami", caller=OPS)

    assert (listed.stdout, listed.stderr) == (
        "",
        "no capabilities are stored: everybody may do all",
    )
    assert who.stdout.strip() == "ops: allow *"


@pytest.mark.parametrize(
    "words",
    [
        ("auth", "caps", "monitor", "allow r"),
        ("auth", "caps", "ops", "allow rw"),
        ("auth", "caps", "*", "allow r"),
        ("auth", "caps", "ops", "allow * network 10.0.0.0/8"),
    ],
)
async def test_nobody_shuts_himself_out(words):
    """The first entry must leave its author the right to make the second."""
    async with builtin_commands() as at:
        refused = await at.run(*words, caller=OPS)

        assert refused.retval == -errno.EPERM
        assert "give yourself 'allow *' first" in refused.stderr
        assert not at.leading_term.mirror.list(at.leading_term.keys.access)


async def test_nobody_removes_the_entry_by_which_he_may():
    """Unless it is the last: then everybody may do everything again."""
    async with builtin_commands() as at:
        await at.run("auth", "caps", "ops", "allow *", caller=OPS)
        await at.run("auth", "caps", "monitor", "allow r", caller=OPS)
        refused = await at.run("auth", "rm", "ops", caller=OPS)
        await at.run("auth", "rm", "monitor", caller=OPS)
        last = await at.run("auth", "rm", "ops", caller=OPS)

    assert (refused.retval, last.retval) == (-errno.EPERM, 0)


async def test_where_clients_show_no_certificate_capabilities_are_refused():
    """They would bind nobody, and look as if they did."""
    async with builtin_commands() as at:
        refused = await at.run("auth", "caps", "monitor", "allow r", caller=PLAIN)
        who = await at.run("auth", "whoami", caller=PLAIN)

    assert refused.retval == -errno.EPERM
    assert "set tls_ca in the settings of every manager first" in refused.stderr
    assert "need no certificate here" in who.stderr


async def test_what_cannot_be_read_is_not_stored():
    """Neither a wrong capability nor a name that no certificate has."""
    async with builtin_commands() as at:
        await at.run("auth", "caps", "ops", "allow *", caller=OPS)
        wrong = await at.run("auth", "caps", "monitor", "allow everything", caller=OPS)
        unnamed = await at.run("auth", "caps", "a b", "allow r", caller=OPS)

    assert (wrong.retval, unnamed.retval) == (-errno.EINVAL, -errno.EINVAL)
    assert "use letters of r, w, x" in wrong.stderr

"""Secrets: no listing, log, history or error shows one, and few may read one."""

from __future__ import annotations

import errno

import pytest

from mgr.access.caps import SECRETS, Caps
from mgr.access.identity import Caller
from mgr.argument.descriptor import Signature
from mgr.command.registry import Command
from mgr.config.secret import MASK, is_secret_name, masked_arguments
from mgr.module_api import Option
from tests.support.builtin_commands import builtin_commands
from tests.support.dispatch_fakes import bench

SECRET = "c0rrect-h0rse"
OPTIONS = [
    Option("password"),
    Option("pin", type="uint", secret=True),
    Option("token", secret=False),
    Option("place"),
]
VIEWER, ADMIN = Caller("viewer", "127.0.0.1"), Caller("admin", "127.0.0.1")
EXACT = Caller("exact", "127.0.0.1")


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("mgr/influx/password", True),
        ("mgr/dashboard/RGW_API_SECRET_KEY", True),
        ("mgr/cephadm/registry_password", True),
        ("mgr/x/api_key", True),
        ("mgr/x/auth-token", True),
        ("mgr/dashboard/jwt_token_ttl", False),
        ("mgr/x/secrets_path", False),
        ("mgr/x/key", False),
        ("mgr/x/passwordless", False),
        ("debug_mgr", False),
    ],
)
def test_a_name_tells_what_a_module_for_ceph_cannot(name, secret):
    """Its options have no mark for it."""
    assert is_secret_name(name) is secret


async def desk(at):
    """Store a secret; the clients are a viewer, an administrator and one with a single grant."""
    at.schemas.put("shop", OPTIONS)
    await at.run("auth", "caps", "admin", "allow *")
    await at.run("auth", "caps", "viewer", "allow r")
    grant = 'allow command "config get" with key=mgr/shop/password'
    await at.run("auth", "caps", "exact", grant)
    for name, value in (("password", "old-h0rse"), ("password", SECRET), ("token", "no secret")):
        assert (await at.run("config", "set", "mgr", f"mgr/shop/{name}", value)).retval == 0


@pytest.mark.parametrize("form", ["plain", "json"])
@pytest.mark.parametrize(
    "words",
    [
        ("config", "dump"),
        ("config", "get", "mgr"),
        ("config", "show", "mgr"),
        ("config", "show-with-defaults", "mgr"),
        ("config", "log"),
        ("config", "help", "mgr/shop/password"),
    ],
    ids=" ".join,
)
async def test_no_listing_shows_a_secret(words, form):
    """To nobody, administrators included: a listing is copied into tickets."""
    async with builtin_commands() as at:
        await desk(at)
        shown = (await at.run(*words, format=form, caller=ADMIN)).stdout

    assert "h0rse" not in shown
    if "help" not in words:
        assert MASK in shown
        assert "no secret" in shown


@pytest.mark.parametrize("verb", ["get", "show"])
async def test_a_secret_is_read_by_who_may_and_never_masked(verb):
    """A script would take the mask for the value."""
    async with builtin_commands() as at:
        await desk(at)
        one = ("config", verb, "mgr", "mgr/shop/password")
        admin = await at.run(*one, caller=ADMIN)
        exact = await at.run(*one, caller=EXACT)
        refused = await at.run(*one, caller=VIEWER)
        plain = await at.run("config", verb, "mgr", "mgr/shop/token", caller=VIEWER)
        other = await at.run("config", verb, "mgr", "mgr/shop/pin", caller=EXACT)

    assert admin.stdout.strip() == exact.stdout.strip() == SECRET
    assert (refused.retval, refused.stdout) == (-errno.EPERM, "")
    assert "is a secret: reading it needs 'allow *'" in refused.stderr
    assert plain.stdout.strip() == "no secret"
    assert other.retval == -errno.EPERM


async def test_no_error_repeats_a_secret():
    """Neither the refusal of a value, nor the health check of one that is stored."""
    async with builtin_commands() as at:
        await desk(at)
        refused = await at.run("config", "set", "mgr", "mgr/shop/pin", SECRET)
        await at.run("config", "set", "mgr", "mgr/shop/pin", SECRET, "--force")
        invalid = {option.name: why for option, why in at.values.invalid_values()}

    assert refused.retval == -errno.EINVAL
    assert refused.stderr == "error parsing value: no valid uint (option mgr/shop/pin)"
    assert invalid == {"mgr/shop/pin": "the value is no valid uint"}


@pytest.mark.parametrize("prefix", ["config-key get", "config-key dump"])
async def test_values_of_the_store_need_more_than_to_read(prefix):
    """Modules keep passwords there."""
    async with builtin_commands() as at:
        command = at.registry.lookup(prefix.split())

    assert command.perm == SECRETS
    assert not Caps.parse("allow rw").grants[0].letters >= set(SECRETS)


@pytest.mark.parametrize(
    ("command", "arguments", "shown"),
    [
        ("config set", {"name": "mgr/shop/password", "value": SECRET}, {"value": MASK}),
        ("config set", {"name": "mgr/shop/place", "value": "Rome"}, {"value": "Rome"}),
        ("config-key set", {"key": "any", "val": SECRET}, {"val": MASK}),
        ("config-key put", {"key": "any"}, {}),
        ("hello", {"value": "x"}, {"value": "x"}),
    ],
)
def test_a_logged_command_has_no_secret(command, arguments, shown):
    """What a manager executed without an active is a line of the next one's log."""
    found = masked_arguments(command, arguments, is_secret_name)

    assert found == {**arguments, **shown}


async def test_the_journal_does_not_keep_a_secret_answer():
    """A retry is told that it is gone; what changed is not done twice."""
    made = Command(Signature.parse("counter key"), "", "rw", module="counter", secret=True)
    async with bench() as at:
        at.registry.put("counter", (made,))
        at.counter.result = (0, SECRET, "made")
        first = await at.execute("counter", "key", request_id="a" * 32)
        again = await at.execute("counter", "key", request_id="a" * 32)
        stored = " ".join(each.value for each in at.term.mirror.list("/").values())

    assert first.stdout == SECRET
    assert (again.stdout, at.counter.calls) == ("", 1)
    assert again.stderr == "made (the output is a secret: it was sent once and is not kept)"
    assert SECRET not in stored

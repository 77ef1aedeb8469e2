"""A module that serves people acts with their rights, which the manager checks."""

from __future__ import annotations

import errno

import pytest

from mgr.access.protection import Protection, encode
from mgr.access.tokens import encode as encode_token
from mgr.access.tokens import new_token
from mgr.module_api.module import MgrModule

HERE = {"address": "127.0.0.1", "encrypted": False}
ASKED = ("health", "config set", "auth caps", "nothing of the kind")


@pytest.fixture
async def protected(cluster):
    """A cluster that demands authentication, with one viewer; the viewer's token and its key."""
    ident, text, record = new_token("vera", lifetime_s=60, by="test")
    await cluster.put(cluster.keys.protection, encode(Protection(admin="root")))
    await cluster.put(cluster.keys.access_of("token:vera"), "allow role viewer")
    await cluster.put(cluster.keys.token(ident), encode_token(record))
    return text, cluster.keys.token(ident)


async def test_where_nobody_has_to_identify_themselves_everybody_may_do_all(run):
    """As without TLS on loopback."""

    def work(module: MgrModule):
        caller = module.identify(**HERE)
        return module.identification_required(), module.permitted(caller, ASKED)

    required, permitted = await run(work)

    assert not required
    assert permitted == {"health", "config set", "auth caps"}


async def test_a_token_gives_the_rights_of_its_name(run, protected):
    """What it may see, and what it may run: the manager refuses the rest."""
    token, _ = protected

    def work(module: MgrModule):
        caller = module.identify(token=token, **HERE)
        words = ["config", "set", "mgr", "mgr/probe/place", "Oslo"]
        return (
            module.identification_required(),
            caller["name"],
            module.permitted(caller, ASKED),
            module.run_as(caller, ["health"]).retval,
            module.run_as(caller, words).retval,
        )

    assert await run(work) == (True, "vera", {"health"}, 0, -errno.EACCES)


@pytest.mark.parametrize(
    "shown",
    [
        {**HERE},
        {"token": "x" * 12 + "." + "y" * 43, **HERE},
        {"token": "no token", **HERE},
        {"certificate": b"no certificate", **HERE},
    ],
    ids=["nothing", "another token", "no token", "no certificate"],
)
async def test_who_shows_nothing_that_is_valid_is_nobody(run, protected, shown):
    """In a cluster that demands more."""
    assert await run(lambda module: module.identify(**shown)) is None


async def test_a_token_is_not_accepted_in_plaintext_from_another_host(run, protected):
    """Somebody may have read it on its way."""
    token, _ = protected

    def work(module: MgrModule):
        return [
            module.identify(token=token, address="10.0.0.9", encrypted=encrypted) is not None
            for encrypted in (False, True)
        ]

    assert await run(work) == [False, True]


async def test_a_removed_token_ends_what_it_gave(run, cluster, protected):
    """Also for a caller that was identified before."""
    token, key = protected
    caller = await run(lambda module: module.identify(token=token, **HERE))
    await cluster.put(key, "removed")

    def work(module: MgrModule):
        return (
            module.identify(token=token, **HERE),
            module.permitted(caller, ASKED),
            module.run_as(caller, ["health"]).retval,
        )

    found, permitted, retval = await run(work)

    assert (found, permitted) == (None, set())
    assert retval in {-errno.EACCES, -errno.EPERM}

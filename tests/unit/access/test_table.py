"""Whom the table binds."""

import pytest

from mgr.access.caps import AccessRequest
from mgr.access.table import INTERNAL_CALLER, Caller, valid_client_name
from mgr.errors import InvalidArgumentError, NotAuthorizedError
from tests.support.leading import leading

READ, WRITE = AccessRequest("health", "r"), AccessRequest("config set", "rw")
ADA, BOB = Caller("ada", "127.0.0.1"), Caller("bob", "127.0.0.1")
ANYBODY = Caller(None, "127.0.0.1")


async def test_an_empty_table_binds_nobody():
    """A cluster that never heard of capabilities goes on as it did."""
    async with leading() as term:
        for caller in (INTERNAL_CALLER, ANYBODY, ADA):
            term.access.check(caller, WRITE)


async def test_from_the_first_entry_on_who_is_not_in_it_may_nothing():
    """Whoever shows no certificate because none is asked for, and the manager itself, may all."""
    async with leading() as term:
        await term.fenced.put(term.keys.access_of("ada"), "allow r")

        term.access.check(ADA, READ)
        for caller, ask in ((ADA, WRITE), (BOB, READ), (Caller("", ""), READ)):
            with pytest.raises(NotAuthorizedError, match=f"may not do '{ask.command}'"):
                term.access.check(caller, ask)
        for caller in (INTERNAL_CALLER, ANYBODY):
            term.access.check(caller, WRITE)


async def test_a_star_stands_for_all_that_have_nothing_of_their_own():
    """Not for those that have: theirs may be less."""
    async with leading() as term:
        await term.fenced.put(term.keys.access_of("*"), "allow rw")
        await term.fenced.put(term.keys.access_of("ada"), "allow r")

        assert term.access.is_allowed(BOB, WRITE)
        assert not term.access.is_allowed(ADA, WRITE)


async def test_what_cannot_be_read_allows_nothing():
    """A newer release, or a hand in etcd, wrote it."""
    async with leading() as term:
        await term.fenced.put(term.keys.access_of("ada"), "permit everything")

        assert not term.access.is_allowed(ADA, READ)


async def test_what_release_0_1_0_stored_is_still_read():
    """It took a comma at the end; an upgrade must not take anybody's rights."""
    async with leading() as term:
        await term.fenced.put(term.keys.access_of("ada"), "allow r, ")

        assert term.access.is_allowed(ADA, READ)
        assert not term.access.is_allowed(ADA, WRITE)


@pytest.mark.parametrize("name", ["", "a b", "a/b", "ä", "x" * 129, "a\n"])
def test_a_client_cannot_be_called_anything(name):
    """Its name is part of a key, and stands in logs."""
    with pytest.raises(InvalidArgumentError, match="use 1 to 128"):
        valid_client_name(name)

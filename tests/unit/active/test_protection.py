"""The active's part of protection: it records what entries demand, and goes if it cannot do it."""

import pytest

from mgr.access.protection import Protection, decode, encode
from mgr.election.eligibility import CANNOT_AUTHENTICATE
from mgr.store.api import Put

CERTIFICATES = {"tls_ca": "ca.pem", "tls_cert": "cert.pem", "tls_key": "key.pem"}
"""Nothing here opens a port, so nobody reads these."""


@pytest.mark.parametrize(
    "stored", [{"protection": encode(Protection(admin="ops"))}, {"access/ops": "allow *"}]
)
async def test_an_active_that_cannot_tell_who_asks_hands_over(active, stored):
    """It finds the record, or entries of an earlier release, when its term begins."""
    async with active(stored=stored) as cluster:
        assert cluster.resigned == [(CANNOT_AUTHENTICATE, "")]


async def test_it_hands_over_also_when_the_record_comes_later(active):
    """``mgrd recover-admin`` writes it past the active."""
    async with active() as cluster:
        assert cluster.resigned == []
        key = cluster.keys.protection
        await cluster.store.commit([Put(key, encode(Protection(admin="ops")))])
        await cluster.until(lambda: cluster.resigned)

        assert cluster.resigned == [(CANNOT_AUTHENTICATE, "")]


async def test_entries_of_an_earlier_release_are_recorded_as_protection(active):
    """So that the guards of managers without certificates see it, too."""
    async with active(stored={"access/ops": "allow *"}, **CERTIFICATES) as cluster:
        await cluster.until(lambda: cluster.mirror.get(cluster.keys.protection))

        assert decode(cluster.mirror.get(cluster.keys.protection).value).required
        assert cluster.resigned == []


async def test_what_was_switched_off_stays_off(active):
    """On purpose, with entries in the table: no start of an active switches it on again."""
    off = {"protection": encode(Protection(required=False)), "access/ops": "allow *"}
    async with active(stored=off) as cluster:
        await cluster.ask("config", "set", "mgr", "log_to_file", "false")

        assert not decode(cluster.mirror.get(cluster.keys.protection).value).required
        assert cluster.resigned == []

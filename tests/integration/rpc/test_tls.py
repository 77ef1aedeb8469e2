"""Managers and clients that show who they are."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import pytest

from mgr.client.async_client import AsyncClient
from mgr.errors import UnreachableError
from mgr.tls import Tls
from tests.integration.rpc.cluster import cluster
from tests.support.secured_etcd import Certificates
from tests.support.tree import ROOT

TIMEOUT_S = 5


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    """A CA, a server's certificate for this host, and a client's; and a stranger's CA."""
    made = Certificates.make(tmp_path_factory.mktemp("pki"))
    made.write_client()
    return made


async def counted(hosts, tls):
    """What a client with these settings gets."""
    async with AsyncClient(hosts, timeout_s=TIMEOUT_S, reach_s=1, tls=tls) as client:
        return (await client.execute(["count"])).retval


async def test_a_client_that_knows_the_ca_is_served_by_all_managers(pki):
    """Also where a standby sends it on: what it learns is spoken to in the same way."""
    async with cluster("a", "b", **pki.settings(mutual=False)) as two:
        two.promote("a", 5)

        assert await counted([two["b"].address], pki.tls(with_client=False)) == 0


async def test_a_client_in_plaintext_or_with_a_strangers_ca_is_not_served(pki, tmp_path):
    """It gets "unreachable": nothing was sent."""
    stranger = Certificates.make(tmp_path).tls(with_client=False)
    async with cluster("a", **pki.settings(mutual=False)) as one:
        active = one.promote("a", 5)
        for tls in (None, stranger):
            with pytest.raises(UnreachableError):
                await counted(one.hosts, tls)

    assert active.requests == []


async def test_with_a_ca_managers_serve_only_who_shows_a_certificate(pki):
    """Mutual TLS: who may connect at all is decided by who got a certificate."""
    async with cluster("a", **pki.settings(mutual=True)) as one:
        one.promote("a", 5)

        assert await counted(one.hosts, pki.tls(with_client=True)) == 0
        with pytest.raises(UnreachableError):
            await counted(one.hosts, pki.tls(with_client=False))


async def test_mgrctl_takes_certificates_from_flags_and_environment(pki, tmp_path):
    """Flags win; a certificate without a CA is a slip."""
    environment = os.environ | {
        "XDG_CACHE_HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path),
        "PYTHONPATH": str(ROOT),
        "MGR_TLS_CERT": str(pki.folder / "client.pem"),
        "MGR_TLS_KEY": str(pki.folder / "client.key"),
    }

    async def mgrctl(*words):
        program = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "mgr.cli.main", *words),
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        async with asyncio.timeout(30):
            _, err = await program.communicate()
        return program.returncode, err.decode()

    async with cluster("a", **pki.settings(mutual=True)) as one:
        one.promote("a", 5)
        ca = ("--tls-ca", str(pki.folder / "ca.pem"))
        hosts = ("--mgr", one.hosts[0])

        assert await mgrctl(*hosts, *ca, "echo", "x") == (0, "a\n")
        status, err = await mgrctl(*hosts, "--tls-cert", "client.pem", "echo", "x")
        assert (status, "need --tls-ca" in err) == (22, True)
        status, err = await mgrctl(*hosts, "--tls-ca", "/nowhere.pem", "echo", "x")
        assert (status, "/nowhere.pem" in err) == (22, True)


def test_a_key_is_not_shown():
    """Not in a log, not in a traceback."""
    assert "private" not in repr(Tls(b"ca", b"cert", b"private"))

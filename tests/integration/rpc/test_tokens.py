"""Clients with a token and no certificate: over TLS, at a port of their own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys

import pytest

from mgr.access.tokens import encode, new_token
from mgr.client.async_client import AsyncClient
from mgr.client.daemon.daemon import AsyncDaemon
from mgr.errors import InvalidSettingError, NotAuthenticatedError
from mgr.tls import Tls
from tests.integration.rpc.cluster import KEYS, cluster, until
from tests.support.certificates import Authority
from tests.support.tree import ROOT

CA = Authority()


@pytest.fixture
def token_file(tmp_path):
    """Where a user keeps a token; the manager's record of it is in ``RECORD``."""
    file = tmp_path / "token"
    file.write_text(TEXT + "\n")
    file.chmod(0o600)
    return file


IDENT, TEXT, RECORD = new_token("ada", lifetime_s=600, by="ops")


@contextlib.asynccontextmanager
async def two(tmp_path):
    """Two managers with both ports; ``b`` leads, and everybody may do everything."""
    settings = CA.settings(tmp_path)
    async with cluster("a", "b", **settings, token_listen="127.0.0.1:0") as managers:
        active = managers.promote("b", 5)
        for manager in managers.managers.values():
            manager.view.rights.put({KEYS.token(IDENT): encode(RECORD)})
            manager.view.rights.set({"*": "allow *"})
        yield managers, active


def shown(token_file):
    """What a client with nothing but a token shows."""
    return Tls(CA.pem).with_token(str(token_file))


async def test_a_token_leads_through_a_standby_to_the_active(tmp_path, token_file):
    """The address that the standby names wants a certificate; the given ones are used."""
    async with two(tmp_path) as (managers, active):
        hosts = [each.server.token_address for each in managers.managers.values()]
        async with AsyncClient(hosts, timeout_s=10, tls=shown(token_file)) as client:
            answer = await client.execute(["echo", "x"])
            async with client.session() as session:
                again = await session.execute(["echo", "y"])
            known = client._leader_cache.peers.addresses

    assert (answer.text, again.text) == ("x", "y")
    assert sorted(known) == sorted(hosts)
    assert {str(each.caller) for each in active.requests} == {"client 'token:ada'"}


async def test_a_daemon_can_have_a_token(tmp_path, token_file):
    """Streams show it, too."""
    async with two(tmp_path) as (managers, active):
        hosts = [each.server.token_address for each in managers.managers.values()]
        async with AsyncDaemon("web", "eu-1", hosts, tls=shown(token_file)):
            await until(lambda: "web.eu-1" in active.fleet.daemons)


async def test_a_token_that_is_gone_is_refused_by_name(tmp_path, token_file):
    """By what is wrong, not as managers that cannot be reached."""
    async with two(tmp_path) as (managers, _):
        managers["b"].view.rights.put({KEYS.token(IDENT): None})
        hosts = [managers["b"].server.token_address]
        async with AsyncClient(hosts, timeout_s=10, tls=shown(token_file)) as client:
            with pytest.raises(NotAuthenticatedError, match="not valid"):
                await client.execute(["echo", "x"])


async def test_a_token_that_has_expired_is_refused_by_name(tmp_path):
    """Its record is still there; whoever has another secret is not told that."""
    ident, text, record = new_token("ada", lifetime_s=-1, by="ops")
    refusals = {}
    async with two(tmp_path) as (managers, active):
        managers["b"].view.rights.put({KEYS.token(ident): encode(record)})
        hosts = [managers["b"].server.token_address]
        for what, shown_text in (("own", text), ("other", f"{ident}.{'A' * 43}")):
            file = tmp_path / what
            file.write_text(shown_text)
            file.chmod(0o600)
            async with AsyncClient(hosts, timeout_s=10, tls=shown(file)) as client:
                with pytest.raises(NotAuthenticatedError) as refused:
                    await client.execute(["echo", "x"])
                refusals[what] = str(refused.value)

    assert "this token has expired" in refusals["own"]
    assert "this token is not valid" in refusals["other"]
    assert active.requests == []


async def test_a_token_beside_a_certificate_counts(tmp_path, token_file):
    """At the port for certificates, with every address that managers publish."""
    async with two(tmp_path) as (managers, active):
        tls = CA.tls("robot").with_token(str(token_file))
        async with AsyncClient([managers["a"].address], timeout_s=10, tls=tls) as client:
            await client.execute(["echo", "x"])

    assert [str(each.caller) for each in active.requests] == ["client 'token:ada'"]


@pytest.mark.parametrize(
    ("text", "mode", "why"),
    [
        (TEXT, 0o644, "is open to everybody on this host"),
        ("", 0o600, "holds no token"),
        ("two words", 0o600, "holds no token"),
        ("ünïcode", 0o600, "cannot read the token"),
        (None, 0, "cannot read the token"),
    ],
)
def test_a_file_that_is_none_or_open_is_refused(tmp_path, text, mode, why):
    """Before anything is sent."""
    file = tmp_path / "other"
    if text is not None:
        file.write_text(text)
        file.chmod(mode)

    with pytest.raises(InvalidSettingError, match=why):
        Tls(CA.pem).with_token(str(file))


def test_a_token_is_not_shown():
    """Not in a log, not in a traceback."""
    assert "secret" not in repr(Tls(b"", token="secret"))


async def test_mgrctl_shows_a_token_and_never_in_plaintext(tmp_path, token_file):
    """From a flag or the environment; an answer in a file is its owner's alone."""
    environment = os.environ | {
        "XDG_CACHE_HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path),
        "PYTHONPATH": str(ROOT),
        "MGR_TOKEN_FILE": str(token_file),
    }

    async def mgrctl(*words):
        program = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "mgr.cli.main", *words),
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        async with asyncio.timeout(50):
            _, err = await program.communicate()
        return program.returncode, err.decode()

    async with two(tmp_path) as (managers, active):
        hosts = ("--mgr", managers["b"].server.token_address)
        out = tmp_path / "answer"
        done = await mgrctl(
            *hosts, "--tls-ca", str(tmp_path / "ca.pem"), "-o", str(out), "echo", "x"
        )
        plain = await mgrctl(*hosts, "echo", "x")

    assert done == (0, "b\n")
    assert (out.read_text(), out.stat().st_mode & 0o777) == ("x", 0o600)
    assert plain[0] == 22
    assert "a token is not sent in plaintext" in plain[1]
    assert [str(each.caller) for each in active.requests] == ["client 'token:ada'"]

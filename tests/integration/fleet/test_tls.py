"""Programs that show managers who they are."""

from __future__ import annotations

import asyncio

import pytest

import mgr.client
from mgr.client import AsyncDaemon, Daemon, Tls
from tests.integration.rpc.cluster import cluster, until
from tests.support.secured_etcd import USER, Certificates

pytestmark = pytest.mark.slow  # real servers, and waits that are the point


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    made = Certificates.make(tmp_path_factory.mktemp("pki"))
    made.write_client()
    return made


@pytest.fixture
async def guarded(pki):
    """Two managers that serve only who shows a certificate; one leads."""
    async with cluster("a", "b", **pki.settings(mutual=True)) as two:
        for each in ("a", "b"):
            two[each].view.rights.set({USER[0]: "allow *"})
        two.promote("a", 5)
        yield two


@pytest.fixture
def brisk(monkeypatch):
    """A search without success is logged at once."""
    monkeypatch.setattr("mgr.retry_log.FIRST_LOG_S", 0.1)
    monkeypatch.setattr("mgr.client.daemon.membership.PAUSE_S_MAX", 0.1)


def test_what_a_daemon_is_given_has_one_address():
    """A program imports from one place, and each name of it is there."""
    assert all(getattr(mgr.client, name) for name in mgr.client.__all__)


async def test_a_daemon_joins_with_a_certificate(pki, guarded):
    """From files, by way of a standby; reports and commands go over the same connection."""
    names = ("ca.pem", "client.pem", "client.key")
    tls = Tls.read(*(str(pki.folder / name) for name in names))

    async with AsyncDaemon("web", "eu-1", guarded["b"].address, tls=tls) as daemon:
        daemon.status["state"] = "ok"
        assert (await daemon.execute(["echo", "hello"])).text == "hello"
        known = guarded["a"].role.fleet.daemons["web.eu-1"]
        await until(lambda: known.status == {"state": "ok"})

    await until(lambda: "web.eu-1" not in guarded["a"].role.fleet.daemons)


async def test_a_threads_daemon_joins_with_a_certificate(pki, guarded):
    """As above."""

    def program():
        with Daemon("web", "eu-1", guarded.hosts, tls=pki.tls(with_client=True)) as daemon:
            return daemon.wait_joined()

    assert await asyncio.get_running_loop().run_in_executor(None, program)
    assert guarded["a"].role.fleet.streams_opened == 1


@pytest.mark.usefixtures("brisk")
@pytest.mark.parametrize(
    ("shown", "why"),
    [
        ("nothing", "TLS on one side only"),
        ("no certificate", "a certificate that is missing"),
        ("a stranger's", "Tls handshake failed"),
    ],
)
async def test_a_daemon_without_a_certificate_learns_why(
    pki, guarded, tmp_path, caplog, shown, why
):
    """It does not join, and its log names each manager with the reason."""
    tls = {
        "nothing": None,
        "no certificate": pki.tls(with_client=False),
        "a stranger's": Certificates.make(tmp_path).tls(with_client=True),
    }[shown]

    async with AsyncDaemon("web", "eu-1", guarded.hosts, tls=tls) as daemon:
        await until(lambda: why in caplog.text)
        assert not daemon.joined

    message = caplog.records[-1].getMessage()
    assert all(f"{address}: " in message for address in guarded.hosts)
    assert guarded["a"].role.fleet.streams_opened == 0


async def test_a_certificate_is_good_for_the_daemons_that_it_may_be(pki, guarded, caplog):
    """The table of capabilities decides which; the refusal is in the program's log."""
    guarded["a"].view.rights.set({"disk": 'allow command "daemon join" with type=osd'})
    tls = pki.tls_of("disk")

    async with AsyncDaemon("web", "eu-1", guarded.hosts, tls=tls):
        await until(lambda: [each for each in caplog.records if each.levelname == "ERROR"])
    async with AsyncDaemon("osd", "1", guarded.hosts, tls=tls) as daemon:
        assert await daemon.wait_joined()

    (error,) = [each for each in caplog.records if each.levelname == "ERROR"]
    assert "'disk'" in error.why

"""Who may do what, with real managers, real certificates and every way in."""

from __future__ import annotations

import errno
import subprocess

import pytest

from mgr.client.blocking import Client
from mgr.client.daemon.daemon import Daemon
from mgr.errors import NotAuthorizedError
from tests.support.cluster import MGRD, Cluster, lines, wait_for
from tests.support.secured_etcd import Certificates


class Guarded(Cluster):
    """A cluster whose managers ask for certificates; tests speak to it as ``ops``."""

    pki: Certificates

    def client(self, name="ops"):
        return Client(self.hosts, tls=self.pki.tls_of(name))

    def ask(self, name, *words, **arguments):
        with self.client(name) as client:
            return client.execute(list(words), arguments, timeout_s=10)


@pytest.fixture
def guarded(tmp_path, etcd):
    pki = Certificates.make(tmp_path / "pki")
    settings = pki.settings(mutual=True)
    made = Guarded(tmp_path, etcd.endpoints, names=("a", "b"), **settings)
    made.pki = pki
    said = subprocess.run(
        [MGRD, "recover-admin", "ops", "--cluster", made.name, "--etcd", ",".join(etcd.endpoints)],
        check=True,
        capture_output=True,
        text=True,
    )
    assert said.stdout == "client 'ops' may do everything now\n"
    with made:
        made.settled()
        for client, caps in (
            ("monitor", "allow role viewer"),
            ("robot", 'allow command "map set" with name=racks'),
            ("disks", "profile daemon name=osd.*"),
            ("host.db1", "profile daemon"),
        ):
            given = made.ask("ops", "auth", "caps", client, caps)
            assert given.retval == 0, given
        yield made


def denied(call):
    with pytest.raises(NotAuthorizedError) as refused:
        call()
    assert refused.value.errno == errno.EACCES
    return str(refused.value)


def does_what_it_may(guarded):
    assert guarded.ask("monitor", "status").retval == 0
    said = denied(lambda: guarded.ask("monitor", "config", "set", "mgr", "debug_mgr", "9"))
    assert "client 'monitor' may not do 'config set' (needs rw)" in said
    denied(lambda: guarded.ask("monitor", "mgr", "fail"))
    denied(lambda: guarded.ask("stranger", "status"))
    denied(lambda: guarded.ask("robot", "auth", "caps", "robot", "allow *"))
    with guarded.client("robot") as robot:
        robot.maps.set("racks", {"a": ["h1"]})
        denied(lambda: robot.maps.set("roles", {}))
        denied(lambda: robot.maps.get("racks"))


def test_each_client_does_what_it_may_before_and_after_a_failover(guarded):
    """The table is in etcd: whoever leads goes by it, and a refused command did not run."""
    does_what_it_may(guarded)
    before = guarded.settled().name
    assert guarded.ask("ops", "mgr", "fail").retval == 0
    wait_for(lambda: guarded.settled().name != before, "the other to lead")
    does_what_it_may(guarded)

    assert "debug_mgr" not in guarded.ask("ops", "config", "dump").text


def test_a_daemon_joins_under_the_names_that_it_may(guarded, caplog):
    """Another one gets the reason, its program goes on, and nobody else is disturbed."""
    tls = guarded.pki.tls_of("disks")

    def received():
        return any("may not do 'daemon join'" in getattr(r, "why", "") for r in caplog.records)

    with Daemon("osd", "1", guarded.hosts, tls=tls) as disk:
        wait_for(lambda: disk.joined, "the daemon to join")
        with Daemon("rgw", "1", guarded.hosts, tls=tls) as other:
            wait_for(received, "a refusal")
            assert not other.joined
        known = guarded.ask("monitor", "daemon", "ls").text

    assert "osd.1" in known
    assert "rgw.1" not in known


def test_a_manager_that_asks_for_no_certificate_gets_nowhere(guarded):
    """It does not lead, also if it is told to, and opens nothing to who comes in plaintext."""
    stranger = guarded.add("c", tls_ca="", tls_cert="", tls_key="")
    stranger.start()
    wait_for(
        lambda: any("this cluster demands authentication" in line for line in lines(stranger.log)),
        "c to say why it does not lead",
    )
    with Client(stranger.grpc_address, reach_s=1) as client:
        denied(lambda: client.execute(["config", "set", "mgr", "debug_mgr", "9"], timeout_s=2))
    refused = guarded.ask("ops", "mgr", "fail", "--successor", "c")

    assert (refused.retval, "'c' is no warm standby" in refused.stderr) == (-errno.ENOENT, True)

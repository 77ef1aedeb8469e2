"""Certificates over real gRPC: for a token, in place of one that ends, reloaded while serving."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import os
from dataclasses import replace
from types import SimpleNamespace

import grpc
import pytest

from mgr.cli.invocation import Invocation
from mgr.cli.renew import run as renew_own
from mgr.client import AsyncDaemon
from mgr.client.async_client import AsyncClient
from mgr.client.join_cluster import exchange, join
from mgr.client.peers import Peers
from mgr.client.renewal import keep_renewed
from mgr.errors import (
    InvalidArgumentError,
    InvalidSettingError,
    NotAuthorizedError,
    NotPermittedError,
    UnreachableError,
)
from mgr.host.server_tls import ServerTls
from mgr.pki.authority import Authority, Subject, common_name, load_certificate
from mgr.pki.issuer import CertificateIssuer
from mgr.pki.private_key import PRIVATE, PrivateKey, write_file
from mgr.pki.record import AuthorityRecord, encode_authority
from mgr.pki.sealed_authority import SealedAuthority
from mgr.pki.signer import LocalSigner
from mgr.pki.token_text import TokenText
from mgr.rpc.v1.certificate_pb2 import JoinRequest
from mgr.rpc.v1.certificate_pb2_grpc import CertificateServiceStub
from mgr.rpc.v1.command_pb2 import ExecuteRequest
from mgr.rpc.v1.command_pb2_grpc import CommandServiceStub
from mgr.rpc.v1.manager_pb2 import GetStatusRequest
from mgr.rpc.v1.manager_pb2_grpc import ManagerServiceStub
from mgr.store.memory import MemoryStore
from mgr.tls import PASSPHRASE_FILE, Tls
from tests.integration.rpc.cluster import Tasks, cluster, until
from tests.support.clock import ManualClock
from tests.support.leading import lead

PASSPHRASE = b"a long enough passphrase"
DAY = dt.timedelta(days=1)


def write_manager(authority, folder, name="mgr.a", lifetime=DAY):
    """What ``tls_dir`` of a manager has."""
    folder.mkdir(exist_ok=True)
    key = PrivateKey()
    subject = Subject(name, server=True, addresses=("127.0.0.1",))
    pem = key.with_certificate(authority.sign(key.request(name), subject, lifetime))
    (folder / "ca.crt").write_text(authority.certificate)
    write_file(folder / "manager.pem", pem, mode=PRIVATE)
    write_file(folder / PASSPHRASE_FILE, PASSPHRASE, mode=PRIVATE)


def write_client(authority, folder, name="ops", lifetime=DAY):
    """What a client got by joining."""
    folder.mkdir(exist_ok=True)
    key = PrivateKey()
    pem = key.with_certificate(authority.sign(key.request(name), Subject(name), lifetime))
    (folder / "ca.crt").write_text(authority.certificate)
    write_file(folder / "client.pem", pem, mode=PRIVATE)
    return Tls.from_folder(str(folder))


class Refusals:
    """Stands for an audit that keeps refusals only."""

    def __init__(self):
        self.refusals = []
        self.sinks = SimpleNamespace(check=lambda: None)

    def begin(self, *_):
        return SimpleNamespace(complete=lambda: None)

    def refused(self, caller, request):
        self.refusals.append((caller.address, request.command, request.arguments["name"]))


class Signing:
    """Two managers with certificates of one CA, of which ``a`` leads and signs."""

    def __init__(self, managers, issuer, authority, folder, tls):
        self.managers = managers
        self.issuer = issuer
        self.authority = authority
        self.folder = folder
        self.tls = tls

    def joins_at(self, name):
        return self.managers[name].server.join_address

    async def token(self, profile="daemon", name="host.*"):
        text, _ = await self.issuer.create_token(profile, name, lifetime_s=900, created_by="ops")
        return text


@pytest.fixture
async def signing(tmp_path):
    authority = Authority.generate("test")
    write_manager(authority, tmp_path)
    pem, ca = str(tmp_path / "manager.pem"), str(tmp_path / "ca.crt")
    tls = ServerTls(Tls.read(ca, pem, pem))
    settings = {
        "tls_dir": str(tmp_path),
        "tls_cert": pem,
        "tls_key": pem,
        "tls_ca": ca,
        "join_listen": "127.0.0.1:0",
        "tls": tls,
    }
    tasks = Tasks()
    term = await lead(MemoryStore(clock := ManualClock()), clock, tasks)
    async with cluster("a", "b", **settings) as two:
        record = AuthorityRecord(
            certificate=authority.certificate, sealed_key=authority.seal(PASSPHRASE)
        )
        await term.fenced.put(term.keys.authority, encode_authority(record))
        sealed = SealedAuthority(term.mirror, term.keys, str(tmp_path))
        signer = LocalSigner(sealed, lambda: 3600.0)
        issuer = CertificateIssuer(sealed, term.fenced, term.store, signer)
        for name in ("a", "b"):
            two[name].view.rights.set({"host.x": "profile daemon", "ops": "allow *"})
        two.promote("a", 5).issuer = issuer
        yield Signing(two, issuer, authority, tmp_path, tls)
    tasks.end()


async def test_a_daemon_joins_by_token_and_then_with_its_certificate(signing, tmp_path):
    """By way of a standby, which names the address at which the active signs."""
    folder = str(tmp_path / "host")
    token = str(await signing.token())

    tls = await join(signing.joins_at("b"), token, "host.x", folder)
    again = await join(signing.joins_at("b"), token, "host.x", folder)

    assert again == tls
    assert common_name(load_certificate(tls.cert)) == "host.x"
    async with AsyncDaemon("host", "x", signing.managers.hosts, tls=tls) as daemon:
        assert await daemon.wait_joined()


async def test_where_joins_are_served_nothing_else_is(signing):
    """A client without a certificate gets neither commands nor the status."""
    credentials = grpc.ssl_channel_credentials(signing.authority.certificate.encode())
    async with grpc.aio.secure_channel(signing.joins_at("a"), credentials) as channel:
        for call in (
            CommandServiceStub(channel).Execute(ExecuteRequest(words=["count"]), timeout=5),
            ManagerServiceStub(channel).GetStatus(GetStatusRequest(), timeout=5),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call
            assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert signing.managers["a"].role.requests == []


async def test_the_other_port_serves_nobody_without_a_certificate(signing):
    """Not even ``Join``."""
    credentials = grpc.ssl_channel_credentials(signing.authority.certificate.encode())
    async with grpc.aio.secure_channel(signing.managers["a"].address, credentials) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await CertificateServiceStub(channel).Join(JoinRequest(), timeout=5)
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_token_is_sent_only_to_the_ca_that_it_names(signing, tmp_path):
    """Somebody in between, with a certificate of another CA for the same address, gets nothing."""
    token = await signing.token()
    other = Authority.generate("test")
    write_manager(other, tmp_path / "other")
    pem, ca = (str(tmp_path / "other" / name) for name in ("manager.pem", "ca.crt"))
    settings = {"tls_dir": "x", "tls_cert": pem, "tls_key": pem, "tls_ca": ca}
    async with cluster("z", join_listen="127.0.0.1:0", **settings) as one:
        with pytest.raises(NotAuthorizedError, match="the token was not sent"):
            await exchange(one["z"].server.join_address, token, "host.x", PrivateKey())

    assert signing.issuer.tokens()[token.id].used_for == ""


async def test_a_certificate_of_the_right_ca_that_is_not_a_servers_is_not_enough(signing, tmp_path):
    """A daemon in between has one: of the CA, and for no address."""
    token = await signing.token()
    write_client(signing.authority, tmp_path / "daemon", "host.evil")
    pem, ca = (str(tmp_path / "daemon" / name) for name in ("client.pem", "ca.crt"))
    settings = {"tls_dir": "x", "tls_cert": pem, "tls_key": pem, "tls_ca": ca}
    async with cluster("z", join_listen="127.0.0.1:0", **settings) as one:
        address = one["z"].server.join_address
        with pytest.raises(UnreachableError, match="no manager signed"):
            await exchange(address, token, "host.x", PrivateKey(), timeout_s=1)

    assert signing.issuer.tokens()[token.id].used_for == ""


async def test_where_nobody_listens_the_reason_names_the_address_once(signing):
    """And in the words of the system."""
    token = await signing.token()
    with pytest.raises(UnreachableError) as failed:
        await exchange("127.0.0.1:1", token, "host.x", PrivateKey(), timeout_s=0.1)

    assert str(failed.value) == "no manager signed a certificate (127.0.0.1:1: Connection refused)"


@pytest.mark.parametrize(
    ("secret", "name", "error"),
    [
        ("A" * 43, "host.x", NotAuthorizedError),
        (None, "web.1", NotPermittedError),
        (None, "host.\n", InvalidArgumentError),
    ],
)
async def test_a_refusal_is_an_error_with_a_reason(signing, secret, name, error):
    """At once: it would only be repeated."""
    token = await signing.token()
    shown = TokenText(token.id, secret or token.secret, token.pin)
    signing.managers["a"].role.audit = audit = Refusals()

    with pytest.raises(error):
        await exchange(signing.joins_at("a"), shown, name, PrivateKey())

    refused = error in {NotAuthorizedError, NotPermittedError}
    assert audit.refusals == ([("127.0.0.1", "auth join", name)] if refused else [])


async def test_a_cluster_without_a_leader_is_waited_for(signing):
    """For as long as the caller says; then each manager's reason is named."""
    token = await signing.token()
    signing.managers.promote("a", 6)  # a role that cannot sign, as a standby's
    signing.managers["a"].view.set(None)

    with pytest.raises(UnreachableError, match="nobody leads"):
        await exchange(signing.joins_at("a"), token, "host.x", PrivateKey(), timeout_s=0.5)


async def test_a_changed_file_is_used_by_new_connections_and_old_ones_stay(signing, tmp_path):
    """Without a lost call: the session that was open goes on."""
    ops = write_client(signing.authority, tmp_path / "ops")
    hosts = [signing.managers["a"].address]
    async with AsyncClient(hosts, tls=ops) as before, before.session() as session:
        await session.execute(["count"])
        first = await presented(signing.joins_at("a"))
        write_manager(signing.authority, tmp_path, "mgr.new")
        await signing.tls.check()
        second = await presented(signing.joins_at("a"))
        await session.execute(["count"])
        async with AsyncClient(hosts, tls=ops) as after:
            assert (await after.execute(["count"])).text == "3"

    assert (first, second) == ("mgr.a", "mgr.new")


async def test_files_that_do_not_fit_change_nothing(signing, tmp_path, caplog):
    """Half-written, or removed: what was read goes on serving, and the log says why."""
    (tmp_path / "manager.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    for _ in range(2):
        await signing.tls.check()

    assert await presented(signing.joins_at("a")) == "mgr.a"
    assert [r.getMessage() for r in caplog.records].count("certificate files not usable") == 1


async def test_a_daemons_certificate_is_renewed_while_it_reports(signing, tmp_path, monkeypatch):
    """It goes on reporting, and its next connection presents the new one."""
    monkeypatch.setattr("mgr.client.renewal.EVERY_S", 0.05)
    monkeypatch.setattr("mgr.client.renewal.RENEW_AT", 0)
    token = await signing.token()
    tls = await join(signing.joins_at("a"), str(token), "host.x", str(tmp_path / "x"))
    short = write_client(signing.authority, tmp_path / "x", "host.x", dt.timedelta(seconds=250))
    assert load_certificate(short.cert) != load_certificate(tls.cert)

    async with AsyncDaemon("host", "x", signing.managers.hosts, tls=short) as daemon:
        assert await daemon.wait_joined()
        await until(lambda: Tls.from_folder(str(tmp_path / "x")) != short)
        assert daemon.joined

    renewed = Tls.from_folder(str(tmp_path / "x"))
    async with AsyncDaemon("host", "x", signing.managers.hosts, tls=renewed) as daemon:
        assert await daemon.wait_joined()


async def test_new_connections_of_a_client_use_renewed_files(signing, tmp_path):
    """A daemon runs longer than its certificate lives."""
    folder = tmp_path / "x"
    ended = write_client(signing.authority, folder, "ops", -dt.timedelta(minutes=1))
    peers = Peers([signing.managers["a"].address], ended)
    with pytest.raises(grpc.aio.AioRpcError):
        await peers.at(peers.addresses[0]).manager.GetStatus(GetStatusRequest(), timeout=5)

    write_client(signing.authority, folder, "ops")
    status = await peers.at(peers.addresses[0]).manager.GetStatus(GetStatusRequest(), timeout=5)

    assert status.name == "a"
    await peers.close()


async def test_a_person_renews_the_certificate_that_mgrctl_shows(signing, tmp_path, capsys):
    """By ``mgrctl auth renew``, while it is valid; key and certificate must be one file."""
    token = await signing.token("daemon", "host.x")
    tls = await join(signing.joins_at("a"), str(token), "host.x", str(tmp_path / "x"))
    shown = Invocation(
        words=("auth", "renew"),
        hosts=",".join(signing.managers.hosts),
        table=tmp_path / "table",
        tls=tls,
    )

    assert await renew_own(shown) == 0
    renewed = Tls.from_folder(str(tmp_path / "x"))
    assert common_name(load_certificate(renewed.cert)) == "host.x"
    assert renewed.cert != tls.cert
    assert os.stat(renewed.cert_file).st_mode & 0o777 == 0o600  # noqa: PTH116
    assert "renewed host.x" in capsys.readouterr().out
    for other in (None, replace(tls, key_file="another.key")):
        with pytest.raises(InvalidSettingError, match=r"nothing to renew|only one file"):
            await renew_own(replace(shown, tls=other))
    assert Tls.from_folder(str(tmp_path / "x")) == renewed


async def test_a_renewal_that_is_refused_is_logged_once(signing, tmp_path, monkeypatch, caplog):
    """The daemon goes on with what it has."""
    monkeypatch.setattr("mgr.client.renewal.EVERY_S", 0.01)
    monkeypatch.setattr("mgr.client.renewal.RENEW_AT", 0)
    tls = write_client(signing.authority, tmp_path / "x", "host.gone", dt.timedelta(seconds=100))
    peers = Peers([signing.managers["a"].address], tls)
    async with asyncio.TaskGroup() as tasks:
        renewing = tasks.create_task(keep_renewed(peers, tls))
        await until(lambda: "no capabilities of its own" in caplog.text)
        await asyncio.sleep(0.2)
        renewing.cancel()
    await peers.close()

    assert caplog.text.count("certificate not renewed") == 1


async def presented(address):
    """The name in the certificate that a server presents to a new connection."""
    import ssl

    host, _, port = address.rpartition(":")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    _, writer = await asyncio.open_connection(host, int(port), ssl=context)
    der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return common_name(load_certificate(ssl.DER_cert_to_PEM_cert(der)))

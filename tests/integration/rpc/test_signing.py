"""A manager without the CA's passphrase has a signer sign: what it was asked for, and its own."""

from __future__ import annotations

import contextlib
import datetime as dt

import grpc
import pytest

from mgr.client.join_cluster import exchange
from mgr.client.leader_cache import LeaderCache
from mgr.client.peers import Peers
from mgr.client.renewal import renew
from mgr.clock import CLOCK
from mgr.errors import NotAuthorizedError, NotPermittedError, UnreachableError
from mgr.host.server_tls import ServerTls
from mgr.pki.authority import Authority, Subject, common_name, load_certificate
from mgr.pki.issuer import CAPS, CertificateIssuer
from mgr.pki.private_key import PRIVATE, PrivateKey, write_file
from mgr.pki.record import AuthorityRecord, encode_authority
from mgr.pki.sealed_authority import SealedAuthority
from mgr.pki.signer import LocalSigner, SigningOrder
from mgr.pki.subject import addresses_of
from mgr.rpc.remote_signer import AnySigner, RemoteSigner
from mgr.rpc.status import error_of
from mgr.rpc.v1.certificate_pb2 import RenewRequest, SignRequest
from mgr.rpc.v1.certificate_pb2_grpc import CertificateServiceStub
from mgr.store.memory import MemoryStore
from mgr.tls import PASSPHRASE_FILE, Tls
from tests.integration.rpc.cluster import KEYS, Cluster, Ledger, Manager, Tasks
from tests.integration.rpc.test_join import write_client
from tests.support.clock import ManualClock
from tests.support.leading import lead

PASSPHRASE = b"a long enough passphrase"
DAY = dt.timedelta(days=1)
RIGHTS = {"mgr.a": CAPS["manager"], "mgr.c": CAPS["manager"], "host.x": CAPS["daemon"]}


class Signers:
    """``a`` leads and has no passphrase, ``b`` is a signer, ``c`` neither; one store for all."""

    def __init__(self, folder, term):
        self.folder = folder
        self.term = term
        self.authority = Authority.generate("test")
        self.signers = {}
        self.managers = Cluster([Manager(name, Ledger()) for name in "abc"])

    async def start(self, tasks):
        record = AuthorityRecord(
            certificate=self.authority.certificate, sealed_key=self.authority.seal(PASSPHRASE)
        )
        await self.term.fenced.put(self.term.keys.authority, encode_authority(record))
        for entry, caps in RIGHTS.items():
            await self.term.fenced.put(self.term.keys.access_of(entry), caps)
        for name, manager in self.managers.managers.items():
            folder = self.folder / name
            self.write(folder, f"mgr.{name}")
            if name == "b":
                write_file(folder / PASSPHRASE_FILE, PASSPHRASE, mode=PRIVATE)
            tls = ServerTls(self.tls(name))
            sealed = SealedAuthority(self.term.mirror, self.term.keys, str(folder))
            remote = RemoteSigner(name, manager.view.presences, lambda tls=tls: tls.current)
            self.signers[name] = AnySigner(sealed, LocalSigner(sealed, lambda: 3600.0), remote)
            manager.view.rights.set(RIGHTS)
            await manager.start(
                tls_dir=str(folder),
                tls_cert=tls.current.cert_file,
                tls_key=tls.current.cert_file,
                tls_ca=tls.current.ca_file,
                join_listen="127.0.0.1:0",
                tls=tls,
                tasks=tasks,
                signer=self.signers[name],
            )
        self.managers["b"].signs = True
        sealed = SealedAuthority(self.term.mirror, self.term.keys, str(self.folder / "a"))
        self.issuer = CertificateIssuer(
            sealed, self.term.fenced, self.term.store, self.signers["a"]
        )
        self.managers.promote("a", 5).issuer = self.issuer

    def write(self, folder, name):
        folder.mkdir()
        key, subject = PrivateKey(), Subject(name, server=True, addresses=("127.0.0.1",))
        pem = key.with_certificate(self.authority.sign(key.request(name), subject, DAY))
        (folder / "ca.crt").write_text(self.authority.certificate)
        write_file(folder / "manager.pem", pem, mode=PRIVATE)

    def tls(self, name):
        pem, ca = str(self.folder / name / "manager.pem"), str(self.folder / name / "ca.crt")
        return Tls.read(ca, pem, pem)

    async def join(self, name="host.x", key=None, profile="daemon", timeout_s=30):
        text, _ = await self.issuer.create_token(profile, name, lifetime_s=900, created_by="ops")
        at, key = self.managers["a"].server.join_address, key or PrivateKey()
        return await exchange(at, text, name, key, addresses=["127.0.0.1"], timeout_s=timeout_s)

    async def sign(self, tls, request):
        """Ask the signer as the owner of the certificate in ``tls``."""
        credentials = grpc.ssl_channel_credentials(tls.ca, tls.key, tls.cert)
        async with grpc.aio.secure_channel(self.managers["b"].address, credentials) as channel:
            try:
                return await CertificateServiceStub(channel).Sign(request, timeout=5)
            except grpc.aio.AioRpcError as failed:
                raise error_of(failed) from None


@pytest.fixture
async def signers(tmp_path):
    tasks = Tasks()
    term = await lead(MemoryStore(clock := ManualClock()), clock, tasks)
    made = Signers(tmp_path, term)
    async with contextlib.AsyncExitStack() as ends:
        ends.callback(tasks.end)
        for manager in made.managers.managers.values():
            ends.push_async_callback(lambda m=manager: m.server.close(0))
        await made.start(tasks)
        yield made


async def test_an_active_without_the_passphrase_has_a_signer_sign(signers):
    """Daemons and managers join, and get no passphrase; with no signer the token stays good."""
    key = PrivateKey()
    answer = await signers.join(key=key)
    manager = await signers.join("mgr.d", profile="manager")

    assert key.fits(answer.certificate.decode())
    assert common_name(load_certificate(answer.certificate)) == "host.x"
    assert manager.HasField("manager")
    assert manager.manager.ca_passphrase == b""
    assert addresses_of(load_certificate(manager.certificate)) == ("127.0.0.1",)
    for at in signers.managers.managers.values():
        at.view.waiting = []
    with pytest.raises(UnreachableError, match="no manager that can sign is running"):
        await signers.join("web.1", timeout_s=0.5)


async def test_a_daemons_renewal_goes_on_to_the_signer_with_its_proof(signers, tmp_path):
    """Without it, the active could take the certificate of anybody: these are not secret."""
    tls = write_client(signers.authority, tmp_path / "x", "host.x")
    peers = Peers([signers.managers["a"].address], tls)
    await renew(LeaderCache(peers, CLOCK, reach_s=5), tls)
    unproven = RenewRequest(signing_request=PrivateKey().request("host.x"))
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await peers.at(peers.addresses[0]).certificates.Renew(unproven, timeout=5)
    await peers.close()

    assert Tls.from_folder(str(tmp_path / "x")) != tls
    assert isinstance(error_of(failed.value), NotAuthorizedError)
    assert "did not prove" in str(error_of(failed.value))


async def test_a_manager_has_its_own_certificate_renewed_while_it_has_capabilities(signers):
    """Under its own name, with the addresses that it has, whoever leads."""
    key = PrivateKey()
    signed = await signers.signers["c"].renew_own(key.request("mgr.other"))

    assert key.fits(signed)
    assert common_name(load_certificate(signed)) == "mgr.c"
    assert addresses_of(load_certificate(signed)) == ("127.0.0.1",)
    await signers.term.fenced.delete(signers.term.keys.access_of("mgr.c"))
    with pytest.raises(NotAuthorizedError, match="no capabilities of its own"):
        await signers.signers["c"].renew_own(key.request("mgr.c"))
    signers.managers["b"].view.rights.put({KEYS.access_of("mgr.c"): None})
    with pytest.raises(NotAuthorizedError, match="certificate sign"):
        await signers.signers["c"].renew_own(key.request("mgr.c"))


async def test_a_signer_signs_for_the_active_only_and_only_what_etcd_allows(signers, tmp_path):
    """Not for another manager, nor for an administrator who is none; not without a token."""
    wanted = PrivateKey().request("admin")
    text, _ = await signers.issuer.create_token(
        "daemon", "host.x", lifetime_s=900, created_by="ops"
    )
    for_token = SignRequest(
        signing_request=wanted, name="host.x", token_id=text.id, secret=text.secret
    )
    ops = write_client(signers.authority, tmp_path / "ops", "ops")
    signers.managers["b"].view.rights.set({**RIGHTS, "ops": "allow *"})

    with pytest.raises(NotPermittedError, match="is not the active"):
        await signers.sign(signers.tls("c"), for_token)
    with pytest.raises(NotPermittedError, match="is no manager"):
        await signers.sign(ops, for_token)
    with pytest.raises(NotPermittedError, match="not for 'admin'"):
        await signers.signers["a"].sign(
            SigningOrder(wanted, "admin", token_id=text.id, secret=text.secret)
        )
    with pytest.raises(NotAuthorizedError, match="unknown, used or expired"):
        await signers.signers["a"].sign(
            SigningOrder(wanted, "host.x", token_id=text.id, secret="A" * 43)
        )
    with pytest.raises(NotAuthorizedError, match="did not prove"):
        await signers.signers["a"].sign(SigningOrder(wanted, "ops", presented=ops.cert))
    assert (await signers.sign(signers.tls("a"), for_token)).certificate

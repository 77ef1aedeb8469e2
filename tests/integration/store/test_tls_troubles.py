"""Every way in which TLS to etcd can be wrong has a line of its own; renewed files are used."""

from __future__ import annotations

import asyncio
import datetime as dt
import subprocess
import uuid

import pytest
import trustme

from mgr.errors import StoreUnavailableError
from mgr.store.api import Put
from mgr.tls import Tls
from tests.support.cluster import MGRD
from tests.support.etcd import Etcd
from tests.support.secured_etcd import Certificates, secured

pytestmark = pytest.mark.etcd

LONG_AGO = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    """What fits, as files."""
    made = Certificates.make(tmp_path_factory.mktemp("pki"))
    made.write_client()
    return made


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    """The same of another CA."""
    made = Certificates.make(tmp_path_factory.mktemp("stranger"))
    made.write_client()
    return made


def files(ca, client=None):
    """The TLS of a manager with the files of ``ca``, and of ``client``."""
    cert, key = (str(client / f"client.{end}") if client else "" for end in ("pem", "key"))
    return Tls.read(str(ca / "ca.pem"), cert, key)


def write(cert, folder, name):
    """Write a certificate and its key."""
    cert.cert_chain_pems[0].write_to_path(folder / f"{name}.pem")
    cert.private_key_pem.write_to_path(folder / f"{name}.key")


def server(pki, directory, name, **issued):
    """An etcd with a certificate for ``name``."""
    folder = directory / uuid.uuid4().hex
    folder.mkdir()
    write(pki.authority.issue_cert(name, **issued), folder, "server")
    flags = {"cert-file": str(folder / "server.pem"), "key-file": str(folder / "server.key")}
    return Etcd(folder, flags=flags, scheme="https")


async def trouble(connect, etcd, tls):
    """What a request is told that finds no connection."""
    store = connect(etcd.endpoints, tls=tls)
    with pytest.raises(StoreUnavailableError) as error:
        await store.get("/mgr/k", timeout_s=4)
    return str(error.value)


async def test_what_is_wrong_with_etcds_certificate_is_said(
    connect, etcd_program, etcd_directory, pki, stranger
):
    """Not signed by the CA of the settings, expired, of another name."""
    with secured(etcd_directory, certificates=pki) as etcd:
        said = await trouble(connect, etcd, files(stranger.folder))
        assert "unable to get local issuer certificate; etcd_ca must have the CA" in said
        assert f"cannot connect to {etcd.address}: its certificate is not accepted" in said
    with server(pki, etcd_directory, "127.0.0.1", not_before=LONG_AGO, not_after=LONG_AGO) as etcd:
        said = await trouble(connect, etcd, files(pki.folder))
        assert "certificate has expired; renew it" in said
    with server(pki, etcd_directory, "elsewhere.invalid") as etcd:
        said = await trouble(connect, etcd, files(pki.folder))
        assert "mismatch" in said
        assert "put the name of the setting etcd into its certificate" in said


async def test_tls_on_one_side_only_is_said(connect, etcd_program, etcd, etcd_directory, pki):
    """Which side, and which setting."""
    assert "it does not speak TLS" in await trouble(connect, etcd, files(pki.folder))
    with secured(etcd_directory, certificates=pki) as with_tls:
        assert "it speaks TLS: set etcd_ca" in await trouble(connect, with_tls, None)


async def test_what_is_wrong_with_the_client_certificate_is_said(
    connect, etcd_program, etcd_directory, pki, stranger, tmp_path
):
    """None shown, one of a strange CA, an expired one."""
    old = pki.authority.issue_cert("old.invalid", not_before=LONG_AGO, not_after=LONG_AGO)
    write(old, tmp_path, "client")
    with secured(etcd_directory, certificates=pki, client_certificates=True) as etcd:
        said = await trouble(connect, etcd, files(pki.folder))
        assert "requires a client certificate: set etcd_cert and etcd_key" in said
        for client in (stranger.folder, tmp_path):
            said = await trouble(connect, etcd, files(pki.folder, client))
            assert "it refuses our client certificate" in said


async def test_an_unreachable_endpoint_is_distinguished_from_a_wrong_one(connect):
    """A wrong port, a wrong name."""
    for address, words in (("127.0.0.1:1", "refused"), ("nowhere.invalid:2379", "nowhere.invalid")):
        store = connect([address])
        with pytest.raises(StoreUnavailableError, match=words):
            await store.get("/k", timeout_s=4)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"etcd-ca": "/none.pem"}, "/none.pem"),
        ({"etcd-ca": "{s}/client.key"}, "client.key has no certificate in PEM form"),
        ({"etcd-ca": "{p}/ca.pem", "etcd-cert": "{p}/client.pem"}, "belong together"),
        (
            {"etcd-ca": "{p}/ca.pem", "etcd-cert": "{p}/client.pem", "etcd-key": "{s}/client.key"},
            "the key does not belong to the certificate",
        ),
        (
            {"etcd-ca": "{p}/ca.pem", "etcd-cert": "{p}/ca.pem", "etcd-key": "{p}/ca.pem"},
            "not a certificate and a key in PEM form",
        ),
        ({"etcd-cert": "{p}/client.pem", "etcd-key": "{p}/client.key"}, "need etcd_ca"),
        ({"etcd": "https://127.0.0.1:2379"}, "needs etcd_ca"),
    ],
)
def test_files_that_do_not_fit_end_the_start_with_22(pki, stranger, flags, words):
    """One line, at once: trying again would not help."""
    folders = {"p": pki.folder, "s": stranger.folder}
    command = [MGRD, "--id", "a"]
    for flag, value in flags.items():
        command += [f"--{flag}", value.format(**folders)]

    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    # Before it there may be a warning, of a key that others can read.
    errors = [line for line in done.stderr.splitlines() if " WARNING " not in line]
    assert (done.returncode, len(errors)) == (22, 1), done.stderr
    assert words in done.stderr


@pytest.mark.usefixtures("etcd_program")
async def test_a_renewed_client_certificate_is_used_at_the_next_connection(
    connect, etcd_directory, pki, stranger, tmp_path, caplog
):
    """Also one that was no good before; a half renewed pair is named and not used."""
    write(stranger.client, tmp_path, "client")
    with secured(etcd_directory, certificates=pki, client_certificates=True) as etcd:
        store = connect(etcd.endpoints, tls=files(pki.folder, tmp_path))
        with pytest.raises(StoreUnavailableError, match="refuses our client certificate"):
            await store.get("/mgr/k", timeout_s=4)

        pki.client.cert_chain_pems[0].write_to_path(tmp_path / "client.pem")
        with pytest.raises(StoreUnavailableError):
            await store.get("/mgr/k", timeout_s=4)
        assert "certificate files for etcd not usable" in caplog.text

        write(pki.client, tmp_path, "client")
        await store.commit([Put("/mgr/k", "1")], timeout_s=10)

        etcd.kill()
        etcd.start()
        write(trustme_copy(pki), tmp_path, "client")
        assert (await store.get("/mgr/k", timeout_s=10)).value == "1"
        await asyncio.to_thread(etcd.wait_ready)


def trustme_copy(pki) -> trustme.LeafCert:
    """Another certificate of the same CA."""
    return pki.authority.issue_cert("renewed.invalid", common_name="mgr")

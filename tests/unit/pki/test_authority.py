"""A CA signs what it is asked for, and nothing more; its key opens with its passphrase only."""

from __future__ import annotations

import datetime as dt
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mgr.errors import InvalidArgumentError, InvalidSettingError
from mgr.pki.authority import Authority, Subject, common_name, load_certificate
from mgr.pki.private_key import PRIVATE, PrivateKey, write_file
from mgr.pki.subject import addresses_of
from mgr.tls import Tls, loose_key

DAY = dt.timedelta(days=1)
PASSPHRASE = b"a long enough passphrase"


@pytest.fixture(scope="module")
def authority():
    return Authority.generate("test")


def signed(authority, subject, lifetime=DAY):
    return load_certificate(authority.sign(PrivateKey().request(subject.name), subject, lifetime))


def test_a_managers_certificate_is_for_its_addresses_and_a_clients_for_none(authority):
    """A daemon's certificate cannot stand for a manager, whatever its request says."""
    manager = signed(authority, Subject("mgr.a", server=True, addresses=("10.0.0.1", "a.example")))
    client = signed(authority, Subject("host.x"))
    usage = x509.ExtendedKeyUsage

    assert set(addresses_of(manager)) == {"10.0.0.1", "a.example"}
    assert addresses_of(client) == ()
    assert list(client.extensions.get_extension_for_class(usage).value) == [
        ExtendedKeyUsageOID.CLIENT_AUTH
    ]
    assert (
        ExtendedKeyUsageOID.SERVER_AUTH in manager.extensions.get_extension_for_class(usage).value
    )
    assert not client.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_names_in_the_request_are_ignored(authority):
    """The token decides about the name, not who asks."""
    certificate = load_certificate(
        authority.sign(PrivateKey().request("admin"), Subject("host.x"), DAY)
    )

    assert common_name(certificate) == "host.x"


def test_it_knows_its_own_certificates(authority):
    """Not those of another CA of the same name, nor those that have ended."""
    ours = signed(authority, Subject("host.x"))
    theirs = signed(Authority.generate("test"), Subject("host.x"))
    ended = signed(authority, Subject("host.x"), -dt.timedelta(minutes=1))

    assert authority.has_signed(ours)
    assert not authority.has_signed(theirs)
    assert not authority.has_signed(ended)


def test_a_sealed_key_opens_with_its_passphrase_only(authority):
    """And is not readable in between."""
    sealed = authority.seal(PASSPHRASE)

    assert "ENCRYPTED" in sealed
    assert Authority.unseal(authority.certificate, sealed, PASSPHRASE).pin == authority.pin
    with pytest.raises(InvalidSettingError, match="wrong passphrase"):
        Authority.unseal(authority.certificate, sealed, PASSPHRASE + b"x")
    with pytest.raises(InvalidSettingError, match="does not belong"):
        Authority.unseal(Authority.generate("other").certificate, sealed, PASSPHRASE)
    with pytest.raises(InvalidSettingError, match="take 20 or more"):
        authority.seal(b"short")


def request_of(key):
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@pytest.mark.parametrize(
    ("request_text", "words"),
    [
        (b"", "malformed"),
        (b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n", "malf"),
        (b"x" * 20_000, "more than"),
        (request_of(ec.generate_private_key(ec.SECP384R1())), "not of the curve P-256"),
        (request_of(rsa.generate_private_key(65537, 2048)), "not of the curve P-256"),
    ],
)
def test_a_request_that_is_none_is_refused(authority, request_text, words):
    """By one of our errors, whatever it is."""
    with pytest.raises(InvalidArgumentError, match=words):
        authority.sign(request_text, Subject("host.x"), DAY)


def test_a_request_that_its_key_did_not_sign_is_refused(authority):
    """Nobody gets a certificate for a key that is not theirs."""
    der = bytearray(
        x509.load_pem_x509_csr(PrivateKey().request("x")).public_bytes(serialization.Encoding.DER)
    )
    der[-1] ^= 1
    forged = ssl.DER_cert_to_PEM_cert(bytes(der)).replace("CERTIFICATE", "CERTIFICATE REQUEST")

    with pytest.raises(InvalidArgumentError, match="signing request"):
        authority.sign(forged.encode(), Subject("host.x"), DAY)


@pytest.mark.parametrize("name", ["", "a" * 65, "a b", "ops\0evil", "a/b", "ä"])
def test_a_name_that_a_certificate_cannot_have_is_refused(authority, name):
    """NUL and control characters among them: others would read another name."""
    with pytest.raises(InvalidArgumentError, match="in a certificate"):
        authority.sign(PrivateKey().request("x"), Subject(name), DAY)


def test_key_and_certificate_in_one_file_are_what_tls_reads(authority, tmp_path):
    """One rename replaces both; nobody else may read it."""
    (tmp_path / "ca.crt").write_text(authority.certificate)
    file = tmp_path / "client.pem"
    for _ in range(2):
        key = PrivateKey()
        certificate = authority.sign(key.request("host.x"), Subject("host.x"), DAY)
        write_file(file, key.with_certificate(certificate), mode=PRIVATE)

    tls = Tls.from_folder(str(tmp_path))

    assert file.stat().st_mode & 0o777 == 0o600
    assert sorted(each.name for each in tmp_path.iterdir()) == ["ca.crt", "client.pem"]
    assert tls.renews
    assert tls.key == tls.cert
    assert not loose_key(str(file))
    file.chmod(0o644)
    with pytest.raises(InvalidSettingError, match="chmod o="):
        Tls.from_folder(str(tmp_path))

"""The certificate authority of a cluster: its certificate and key, and what it signs."""

from __future__ import annotations

import datetime as dt
import hashlib
import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mgr.errors import InvalidArgumentError, InvalidSettingError
from mgr.x509_errors import UNUSABLE

AUTHORITY_LIFETIME: Final = dt.timedelta(days=3650)
BACKDATED: Final = dt.timedelta(minutes=5)
"""A certificate is valid from this long ago, or a tenth of its lifetime: clocks of hosts differ."""
PASSPHRASE_LENGTH_MIN: Final = 20
"""PKCS #8 slows a guess down by little, so a passphrase has to be long."""
SUBJECT_NAME: Final = re.compile(r"[A-Za-z0-9@_.:-]{1,64}")
"""Valid names in certificates. X.509 limits a common name to 64 characters."""
CSR_BYTES_MAX: Final = 16 << 10
NAMES_MAX: Final = 64


@dataclass(frozen=True, slots=True)
class Subject:
    """What a certificate is for.

    Attributes:
        name: The common name: ``mgr.a``, ``host.db1``, ``admin``.
        server: Whether it may be a server's; otherwise it is a client's only.
        addresses: The DNS names and IP addresses under which clients reach the server.

    """

    name: str
    server: bool = False
    addresses: tuple[str, ...] = ()


class Authority:
    """A certificate authority whose key is at hand."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        """Sign with ``key``, which belongs to ``certificate``."""
        self._certificate = certificate
        self._key = key

    @classmethod
    def generate(cls, cluster: str) -> Authority:
        """Make a new authority for ``cluster``, valid for ten years."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"CA of {cluster}"[:64])])
        now = _now()
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - BACKDATED)
            .not_valid_after(now + AUTHORITY_LIFETIME)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
        )
        return cls(builder.sign(key, hashes.SHA256()), key)

    @classmethod
    def unseal(cls, certificate: str, sealed_key: str, passphrase: bytes) -> Authority:
        """Open what ``seal`` returned; takes a hundredth of a second.

        Raises:
            InvalidSettingError: The passphrase is wrong, or the texts are damaged.

        """
        try:
            key = serialization.load_pem_private_key(sealed_key.encode(), passphrase)
            loaded = x509.load_pem_x509_certificate(certificate.encode())
        except UNUSABLE:
            raise InvalidSettingError("the CA's key cannot be opened: wrong passphrase") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != (
            loaded.public_key()
        ):
            raise InvalidSettingError("the CA's key does not belong to its certificate")
        return cls(loaded, key)

    def seal(self, passphrase: bytes) -> str:
        """Return the key encrypted with ``passphrase``, as PKCS #8 in PEM form.

        Raises:
            InvalidSettingError: The passphrase is too short.

        """
        if len(passphrase) < PASSPHRASE_LENGTH_MIN:
            raise InvalidSettingError(
                f"the CA's passphrase has {len(passphrase)} characters: "
                f"take {PASSPHRASE_LENGTH_MIN} or more"
            )
        return self._key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(passphrase),
        ).decode()

    @property
    def certificate(self) -> str:
        """The authority's certificate in PEM form."""
        return _pem(self._certificate)

    @property
    def pin(self) -> str:
        """See ``pin_of``."""
        return pin_of(self._certificate)

    def sign(self, request: bytes, subject: Subject, lifetime: dt.timedelta) -> str:
        """Sign the public key in ``request`` for ``subject``; return its and our certificate.

        Only the key is taken from the request. Names and uses are those of ``subject``.

        Raises:
            InvalidArgumentError: The request is malformed, or the name is invalid.

        """
        public_key = requested_key(request)
        usage = [ExtendedKeyUsageOID.CLIENT_AUTH]
        if subject.server:
            usage.insert(0, ExtendedKeyUsageOID.SERVER_AUTH)
        now = _now()
        backdated = min(BACKDATED, lifetime / 10) if lifetime > dt.timedelta(0) else BACKDATED
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(subject.name))
            .issuer_name(self._certificate.subject)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - backdated)
            .not_valid_after(min(now + lifetime, self._certificate.not_valid_after_utc))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usage), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
        )
        if subject.addresses:
            names = x509.SubjectAlternativeName(_general_names(subject.addresses))
            builder = builder.add_extension(names, critical=False)
        # With our own certificate, so that whoever joins can compare it with the pin.
        return _pem(builder.sign(self._key, hashes.SHA256())) + self.certificate

    def has_signed(self, certificate: x509.Certificate) -> bool:
        """Return whether ``certificate`` is one of this authority's, valid now."""
        return has_signed(self._certificate, certificate)


def has_signed(ca: x509.Certificate, certificate: x509.Certificate) -> bool:
    """Return whether the authority of ``ca`` signed ``certificate``, and it is valid now."""
    try:
        certificate.verify_directly_issued_by(ca)
    except (InvalidSignature, *UNUSABLE):
        return False
    return certificate.not_valid_before_utc <= _now() <= certificate.not_valid_after_utc


def is_proven(certificate: x509.Certificate, request: bytes, proof: bytes) -> bool:
    """Return whether ``proof`` is a signature of ``request`` by the key of ``certificate``.

    See ``mgr.pki.private_key.prove``.
    """
    try:
        key = certificate.public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey):
            return False
        key.verify(proof, request, ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, *UNUSABLE):
        return False
    return True


def load_certificate(pem: str | bytes) -> x509.Certificate:
    """Return the first certificate in ``pem``.

    Raises:
        InvalidArgumentError: There is none.

    """
    try:
        return x509.load_pem_x509_certificate(pem.encode() if isinstance(pem, str) else pem)
    except UNUSABLE:
        raise InvalidArgumentError("this is no certificate in PEM form") from None


def common_name(certificate: x509.Certificate) -> str:
    """Return the common name; empty if there is none, or several, or it cannot be read."""
    try:
        names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    except UNUSABLE:
        return ""
    return str(names[0].value) if len(names) == 1 else ""


def pin_of(certificate: x509.Certificate) -> str:
    """Return the SHA-256 of the public key, in hexadecimal, as kubeadm has it."""
    key = certificate.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return hashlib.sha256(key).hexdigest()


def requested_key(request: bytes) -> ec.EllipticCurvePublicKey:
    """Return the public key in a certificate signing request whose signature is right.

    Raises:
        InvalidArgumentError: It is malformed, not signed by its key, or the key is not of P-256.

    """
    if len(request) > CSR_BYTES_MAX:
        raise InvalidArgumentError(f"the signing request has more than {CSR_BYTES_MAX} bytes")
    try:
        loaded = x509.load_pem_x509_csr(request)
        valid, key = loaded.is_signature_valid, loaded.public_key()
    except UNUSABLE:
        raise InvalidArgumentError("the signing request is malformed") from None
    if not valid:
        raise InvalidArgumentError("the signing request is not signed by its own key")
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise InvalidArgumentError("the signing request has a key that is not of the curve P-256")
    return key


def key_digest(request: bytes) -> str:
    """Return the SHA-256 of the public key in ``request``; raises as ``requested_key`` does."""
    key = requested_key(request).public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return hashlib.sha256(key).hexdigest()


def check_subject_name(name: str) -> str:
    """Return ``name`` if a certificate may have it.

    Raises:
        InvalidArgumentError: It may not.

    """
    if not SUBJECT_NAME.fullmatch(name):
        raise InvalidArgumentError(
            f"name {name!r}: use 1 to 64 of A-Z a-z 0-9 @ _ . : - in a certificate"
        )
    return name


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, check_subject_name(name))])


def _general_names(addresses: Sequence[str]) -> list[x509.GeneralName]:
    if len(addresses) > NAMES_MAX:
        raise InvalidArgumentError(f"a certificate may have {NAMES_MAX} addresses at most")
    found: list[x509.GeneralName] = []
    for address in dict.fromkeys(addresses):
        try:
            found.append(x509.IPAddress(ipaddress.ip_address(address)))
        except ValueError:
            if not re.fullmatch(r"[A-Za-z0-9_.-]{1,253}", address):
                raise InvalidArgumentError(f"{address!r} is no DNS name or IP address") from None
            found.append(x509.DNSName(address))
    return found


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)

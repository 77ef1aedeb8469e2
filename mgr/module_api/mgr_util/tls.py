"""Certificates, keys and password hashes for the services that modules run.

Uses ``cryptography`` and ``bcrypt``, which are imported when needed: a host whose modules do not
serve TLS need not have them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from mgr.module_api.mgr_util.address import ServerConfigException
from mgr.module_api.mgr_util.optional_import import library

LIFETIME: Final = timedelta(days=3650)
KEY_BITS: Final = 2048
SUBJECT: Final[Mapping[str, str]] = {
    "C": "COUNTRY_NAME",
    "ST": "STATE_OR_PROVINCE_NAME",
    "L": "LOCALITY_NAME",
    "O": "ORGANIZATION_NAME",
    "OU": "ORGANIZATIONAL_UNIT_NAME",
    "CN": "COMMON_NAME",
    "emailAddress": "EMAIL_ADDRESS",
}
"""The fields of a certificate's subject, and their names in ``cryptography``."""
CERTIFICATE: Final = re.compile(
    r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL
)
KEY: Final = re.compile(r"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.+?-----END \1-----", re.DOTALL)


def create_self_signed_cert(
    organisation: str = "Ceph", common_name: str = "mgr", dname: Mapping[str, str] | None = None
) -> tuple[str, str]:
    """Make a certificate for ten years and its key, as PEM.

    ``dname`` may set more fields of the subject and replaces the other two arguments.

    Raises:
        ValueError: ``dname`` has a field that a certificate does not have.

    """
    subject = {"O": organisation, "CN": common_name} if dname is None else dname
    if not subject.keys() <= SUBJECT.keys():
        fields = ", ".join(SUBJECT)
        raise ValueError(f"Invalid DNAME received. Valid DNAME fields are {fields}")
    x509 = library("cryptography.x509", "create_self_signed_cert")
    hashes = library("cryptography.hazmat.primitives.hashes", "create_self_signed_cert")
    key, key_text = _new_key()
    name = x509.Name(
        x509.NameAttribute(getattr(x509.NameOID, SUBJECT[field]), value)
        for field, value in subject.items()
    )
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + LIFETIME)
        .sign(key, hashes.SHA512())
    )
    return _pem(certificate), key_text


def certificate_days_to_expire(crt: str | bytes) -> int:
    """Return for how many whole days from now a certificate is valid.

    Raises:
        ServerConfigException: It is not a certificate, or has expired; the text names its issuer.

    """
    certificate = _certificate(crt)
    ends = certificate.not_valid_after_utc
    left = ends - datetime.now(UTC)
    if left < timedelta(0):
        organisation, name = _issuer(certificate)
        raise ServerConfigException(
            f'Certificate issued by "{organisation}/{name}" expired on {ends:%Y-%m-%d %H:%M:%S}'
        )
    return int(left.days)


def get_cert_issuer_info(crt: str | bytes) -> tuple[str | None, str | None]:
    """Return the issuer of a certificate: organisation and common name.

    Raises:
        ServerConfigException: It is not a certificate.

    """
    return _issuer(_certificate(crt))


def verify_cacrt(cert_fname: str) -> None:
    """Check that the file contains a certificate that is still valid.

    Raises:
        ServerConfigException: It does not; the text gives the reason.

    """
    if not cert_fname:
        raise ServerConfigException("CA cert not configured")
    path = Path(cert_fname)
    if not path.is_file():
        raise ServerConfigException(f"Certificate {cert_fname} does not exist")
    try:
        certificate_days_to_expire(path.read_text())
    except (ServerConfigException, UnicodeDecodeError) as error:
        raise ServerConfigException(f"Invalid certificate {cert_fname}: {error}") from error


def verify_tls(crt: str | bytes, key: str | bytes) -> int:
    """Check that ``key`` belongs to a certificate; return for how many days it is valid.

    Either may be text or bytes.

    Raises:
        ServerConfigException: The key does not belong to it, or one of the two is invalid.

    """
    serialization = _serialization("verify_tls")
    try:
        private = serialization.load_pem_private_key(_octets(key), password=None)
    except (ValueError, TypeError) as error:
        raise ServerConfigException(f"Invalid private key: {error}") from error
    if private.public_key() != _certificate(crt).public_key():
        raise ServerConfigException(
            "Invalid cert/key pair: Private key and certificate do not match up"
        )
    return certificate_days_to_expire(crt)


def verify_tls_files(cert_fname: str, pkey_fname: str) -> int:
    """Like ``verify_tls``, for files.

    Raises:
        ServerConfigException: As there, or a file does not exist.

    """
    if not cert_fname or not pkey_fname:
        raise ServerConfigException("no certificate configured")
    for what, name in (("private key", pkey_fname), ("certificate", cert_fname)):
        if not Path(name).is_file():
            raise ServerConfigException(f"{what} {name} does not exist")
    try:
        return verify_tls(Path(cert_fname).read_text(), Path(pkey_fname).read_text())
    except UnicodeDecodeError as error:
        raise ServerConfigException(f"{cert_fname} or {pkey_fname} is no PEM: {error}") from error


def parse_combined_pem_file(pem_data: str) -> tuple[str | None, str | None]:
    """Return the certificates and the private key in a text; None for what it does not contain."""
    certificates = CERTIFICATE.findall(pem_data)
    key = KEY.search(pem_data)
    return "\n".join(certificates) or None, key[0] if key else None


def password_hash(password: str | None, salt_password: str | None = None) -> str | None:
    """Return the bcrypt hash of a password; None if there is no password.

    With an earlier hash as ``salt_password``, the result is equal to it if the password is right.
    """
    if not password:
        return None
    bcrypt = library("bcrypt", "password_hash")
    salt = salt_password.encode() if salt_password else bcrypt.gensalt()
    return str(bcrypt.hashpw(password.encode(), salt).decode())


def _new_key() -> tuple[Any, str]:
    rsa = library("cryptography.hazmat.primitives.asymmetric.rsa", "create_self_signed_cert")
    key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
    form = _serialization("create_self_signed_cert")
    text = key.private_bytes(
        form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()
    ).decode()
    return key, text


def _octets(pem: str | bytes) -> bytes:
    return pem.encode() if isinstance(pem, str) else pem


def _certificate(crt: str | bytes) -> Any:
    x509 = library("cryptography.x509", "reading a certificate")
    try:
        return x509.load_pem_x509_certificate(_octets(crt))
    except ValueError as error:
        raise ServerConfigException(f"Invalid certificate: {error}") from error


def _issuer(certificate: Any) -> tuple[str | None, str | None]:
    attributes = {part.rfc4514_attribute_name: str(part.value) for part in certificate.issuer}
    return attributes.get("O"), attributes.get("CN")


def _pem(certificate: Any) -> str:
    form = _serialization("create_self_signed_cert")
    return str(certificate.public_bytes(form.Encoding.PEM).decode())


def _serialization(needed_for: str) -> Any:
    return library("cryptography.hazmat.primitives.serialization", needed_for)

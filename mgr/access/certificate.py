"""The names in a client's certificate, and when it ends.

gRPC passes names as C strings, which end at a NUL, and without their kinds. So they are read from
the certificate itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from cryptography import x509
from cryptography.x509.oid import NameOID

from mgr.access.identity import NAMELESS, Identity, Kind
from mgr.errors import NotAuthenticatedError
from mgr.x509_errors import UNUSABLE

PEM: Final = b"-----BEGIN"
NAMES_MAX: Final = 64
"""Most names of one certificate that are used."""


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """What is used of a client certificate that TLS has verified.

    Attributes:
        identities: Its names: common name, URIs, DNS names. At least one.
        expires_s: When it ends, as wall time since 1970.

    """

    identities: tuple[Identity, ...]
    expires_s: float


@lru_cache(maxsize=4096)
def read_certificate(data: bytes) -> ClientCertificate:
    """Read a certificate in PEM or DER form. The same bytes are parsed once.

    Raises:
        NotAuthenticatedError: It cannot be read, or a name in it has a control character.

    """
    try:
        load = x509.load_pem_x509_certificate if data.startswith(PEM) else _load_der
        certificate = load(data)
        names = [*_common_names(certificate), *_alternative_names(certificate)]
        expires_s = certificate.not_valid_after_utc.timestamp()
    except UNUSABLE as error:
        raise NotAuthenticatedError(f"the client certificate cannot be read: {error}") from None
    for identity in names:
        if not identity.name.isprintable():
            # Shown shortened: the certificate has a valid signature, and yet somebody plays tricks.
            shown = repr(identity.name[:100])
            raise NotAuthenticatedError(
                f"the client certificate has a control character in its name {shown}: issue "
                "another one"
            )
    return ClientCertificate(tuple(names[:NAMES_MAX]) or (_NAMELESS,), expires_s)


_NAMELESS: Final = Identity(Kind.CN, NAMELESS)


def _load_der(data: bytes) -> x509.Certificate:
    return x509.load_der_x509_certificate(data)


def _common_names(certificate: x509.Certificate) -> list[Identity]:
    found = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if len(found) > 1:
        raise ValueError(f"it has {len(found)} common names")
    return [Identity(Kind.CN, str(each.value)) for each in found if each.value]


def _alternative_names(certificate: x509.Certificate) -> list[Identity]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    domains = names.get_values_for_type(x509.DNSName)
    return [
        *(Identity(Kind.URI, uri) for uri in uris if uri),
        *(Identity(Kind.DNS, domain.lower()) for domain in domains if domain),
    ]

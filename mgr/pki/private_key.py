"""A private key that never leaves its host, and the request to sign its public half."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mgr.errors import InvalidArgumentError

PRIVATE: Final = 0o600
PUBLIC: Final = 0o644


class PrivateKey:
    """A new key of the curve P-256."""

    def __init__(self) -> None:
        """Make it."""
        self._key = ec.generate_private_key(ec.SECP256R1())

    def request(self, name: str) -> bytes:
        """Return a certificate signing request in PEM form; who signs decides about names."""
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
        signed = builder.sign(self._key, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM)

    def pem(self) -> bytes:
        """Return the key in PEM form, not encrypted."""
        return self._key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    def fits(self, certificate: str) -> bool:
        """Return whether ``certificate`` is one of this key."""
        public = x509.load_pem_x509_certificate(certificate.encode()).public_key()
        return public == self._key.public_key()

    def with_certificate(self, certificate: str) -> bytes:
        """Return key and certificate as the content of one file: one rename replaces both."""
        return self.pem() + certificate.encode()


def prove(key_pem: bytes, request: bytes) -> bytes:
    """Return a signature of ``request`` by a present key: who has that key sent the request.

    Raises:
        InvalidArgumentError: There is no key of an elliptic curve in ``key_pem``.

    """
    try:
        key = serialization.load_pem_private_key(key_pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise InvalidArgumentError("there is no private key in PEM form") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise InvalidArgumentError("this key is not of the cluster's own CA: it has another kind")
    return key.sign(request, ec.ECDSA(hashes.SHA256()))


def write_file(path: Path, content: bytes, *, mode: int) -> None:
    """Write ``path`` so that readers see the old content or the new one, with ``mode``.

    Raises:
        OSError: It cannot be written; the old content is still there.

    """
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise

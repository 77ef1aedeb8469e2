"""A CA that issues certificates with any names and any end, also such as no CA should issue."""

from __future__ import annotations

import datetime as dt
import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mgr.tls import Tls

DAY = dt.timedelta(days=1)


class Authority:
    """A CA of its own."""

    def __init__(self):
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test CA")])
        self._certificate = (
            self._builder(self._name, self._key, DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False
            )
            .sign(self._key, hashes.SHA256())
        )

    @property
    def pem(self):
        """Its own certificate."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def issue(self, *common_names, uris=(), dns=(), ips=(), valid=DAY):
        """Return a certificate and its key, in PEM form; ``valid`` may be negative or short."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name(
            [x509.NameAttribute(NameOID.COMMON_NAME, name) for name in common_names]
        )
        alternative = [
            *(x509.DNSName(name) for name in dns),
            *(x509.UniformResourceIdentifier(uri) for uri in uris),
            *(x509.IPAddress(ipaddress.ip_address(ip)) for ip in ips),
        ]
        builder = self._builder(subject, key, valid)
        if alternative:
            builder = builder.add_extension(
                x509.SubjectAlternativeName(alternative), critical=False
            )
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
            critical=False,
        )
        made = builder.sign(self._key, hashes.SHA256())
        return (
            made.public_bytes(serialization.Encoding.PEM),
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
        )

    def tls(self, *common_names, trusted=None, **names):
        """What a client with such a certificate is given; ``trusted``: the CA of the managers."""
        cert, key = self.issue(*common_names, **names)
        return Tls((trusted or self).pem, cert=cert, key=key)

    def settings(self, folder):
        """What a manager on this host is given, which serves only who shows a certificate."""
        cert, key = self.issue(dns=["localhost"], ips=["127.0.0.1"])
        for name, text in (("ca", self.pem), ("cert", cert), ("key", key)):
            (folder / f"{name}.pem").write_bytes(text)
        return {f"tls_{name}": str(folder / f"{name}.pem") for name in ("ca", "cert", "key")}

    def _builder(self, subject, key, valid):
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 2 * DAY)
            .not_valid_after(now + valid)
        )

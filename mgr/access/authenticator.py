"""Authentication: who sent a request, by certificate or token. gRPC and HTTP both ask here."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from mgr.access.identity import Caller
from mgr.access.tokens import Tokens
from mgr.clock import wall_s
from mgr.errors import NotAuthenticatedError


@dataclass(frozen=True, slots=True)
class Peer:
    """What a connection and a request show of the client.

    Attributes:
        address: Its IP address; empty if it is not known.
        certificate: Its certificate, in PEM or DER form, *verified by TLS*; empty without one.
        authorization: The header, or metadata, ``authorization``; empty without one.
        encrypted: Whether the connection is TLS.

    """

    address: str
    certificate: bytes = b""
    authorization: str = ""
    encrypted: bool = False


class Authenticator:
    """Returns the caller of a request. Any thread may call it."""

    def __init__(self, tokens: Tokens, *, certificates: bool) -> None:
        """Accept ``tokens``, and certificates if this manager has a CA to verify them with."""
        self._tokens = tokens
        self._certificates = certificates
        if certificates:
            # Imported here: it takes a tenth of a second, which no request should pay for, and
            # memory, which a manager without TLS should not pay for.
            from mgr.access.certificate import read_certificate  # noqa: PLC0415

            self._read_certificate = read_certificate

    def identify(self, peer: Peer) -> Caller:
        """Return the caller behind ``peer``; an anonymous one if it shows nothing.

        A token says more than the certificate beside it: the client chose to send it.

        Raises:
            NotAuthenticatedError: It shows something that is not valid, or not any more.

        """
        if peer.authorization:
            if not peer.encrypted and not is_loopback(peer.address):
                raise NotAuthenticatedError(
                    "a token is accepted over TLS only: this one was sent in plaintext and should "
                    "be removed ('auth token rm')"
                )
            return self._tokens.authenticate(peer.authorization, peer.address)
        if not (self._certificates and peer.certificate):
            return Caller.anonymous(peer.address)
        found = self._read_certificate(peer.certificate)
        if found.expires_s <= wall_s():
            raise NotAuthenticatedError("the client certificate has expired")
        first = found.identities[0]
        return Caller(
            first.name,
            peer.address,
            first.kind,
            others=found.identities[1:],
            expires_s=found.expires_s,
        )


def is_loopback(address: str) -> bool:
    """Whether ``address`` is an IP address of this host itself."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    return (getattr(found, "ipv4_mapped", None) or found).is_loopback

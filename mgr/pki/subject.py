"""What the certificate of a manager says: its name, and the addresses of its servers."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable

from cryptography import x509

from mgr.addresses import split_address
from mgr.pki.authority import Subject
from mgr.pki.join_token import MANAGER_PREFIX
from mgr.settings import Settings
from mgr.x509_errors import UNUSABLE

EVERYWHERE = frozenset({"0.0.0.0", "::", "*"})  # noqa: S104 - compared, not bound


def manager_subject(settings: Settings, extra: Iterable[str] = ()) -> Subject:
    """Return the subject of the manager with ``settings``, with ``extra`` addresses.

    Its addresses are those of its listeners, this host's names, and loopback, for probes. A
    manager that listens on every interface gets the addresses of its host's name.
    """
    addresses = [
        split_address(address, "address")[0]
        for address in (
            settings.grpc_advertise,
            settings.grpc_listen,
            settings.http_advertise,
            settings.http_listen,
            settings.join_advertise,
            settings.join_listen,
        )
        if address
    ]
    names = [socket.gethostname(), socket.getfqdn()]
    if EVERYWHERE & set(addresses):
        with contextlib.suppress(OSError):
            found = socket.getaddrinfo(names[1], None, type=socket.SOCK_STREAM)
            names += [str(each[4][0]).partition("%")[0] for each in found]
    wanted = [*extra, *addresses, *names, "localhost", "127.0.0.1", "::1"]
    return Subject(
        MANAGER_PREFIX + settings.id,
        server=True,
        addresses=tuple(dict.fromkeys(each for each in wanted if each not in EVERYWHERE)),
    )


def addresses_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """Return the DNS names and IP addresses in ``certificate``; none if they cannot be read."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, *UNUSABLE):
        return ()
    addresses = map(str, names.get_values_for_type(x509.IPAddress))
    return (*names.get_values_for_type(x509.DNSName), *addresses)

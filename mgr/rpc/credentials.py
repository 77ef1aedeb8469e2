"""Ports of gRPC servers: with TLS, whose certificate may change while the server runs."""

from __future__ import annotations

import resource
import socket

import grpc

from mgr.addresses import split_address
from mgr.errors import CannotListenError, InvalidSettingError
from mgr.host.server_tls import ServerTls
from mgr.tls import Tls


def bind(
    server: grpc.aio.Server,
    listen: str,
    setting: str,
    tls: ServerTls | None,
    *,
    clients_authenticate: bool = True,
) -> int:
    """Let ``server`` listen at ``listen``, the value of ``setting``; return the bound port.

    With ``clients_authenticate`` and a CA in ``tls``, clients must present a certificate.

    Raises:
        CannotListenError: The address cannot be bound.
        InvalidSettingError: gRPC does not accept the certificate.

    """
    host, port = split_address(listen, setting)
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        if tls is None:
            return server.add_insecure_port(address)
        return server.add_secure_port(
            address, server_credentials(tls, clients_authenticate=clients_authenticate)
        )
    except RuntimeError:
        # gRPC's error does not contain a reason.
        if why := _why_not_bound(host, port):
            raise CannotListenError(f"{setting}: cannot listen on {listen}: {why}") from None
        raise InvalidSettingError(
            f"{setting}: gRPC does not accept {tls.current.cert_file if tls else listen}: "
            "is it a certificate with its private key, in PEM form?"
        ) from None


def connections_max(share: int) -> int:
    """Return how many connections a server may have: this part of the process's descriptors."""
    return max(1, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // share)


def server_credentials(tls: ServerTls, *, clients_authenticate: bool) -> grpc.ServerCredentials:
    """Return credentials that each new handshake takes from ``tls``."""
    used = tls.current

    def changed() -> grpc.ServerCertificateConfiguration | None:
        # Called by a thread of gRPC before each handshake; None: as before.
        nonlocal used
        current = tls.current
        if current is used:
            return None
        used = current
        return _configuration(current)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(used),
        changed,  # type: ignore[arg-type]  # None is documented, the stubs do not know it
        require_client_authentication=clients_authenticate and bool(used.ca),
    )


def _configuration(tls: Tls) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration(
        [(tls.key, tls.cert)], root_certificates=tls.ca or None
    )


def _why_not_bound(host: str, port: int) -> str:
    """Try to bind the address; return why that fails, empty if it does not."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        return error.strerror or str(error)
    return ""

"""Addresses in settings: ``host:port``, where an IPv6 host stands in brackets."""

from __future__ import annotations

import ipaddress
import socket

from mgr.errors import InvalidSettingError


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach a server that listens at ``host``."""
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host == "localhost"


def split_address(address: str, what: str) -> tuple[str, int]:
    """Split ``host:port``; an IPv6 host stands in brackets.

    Raises:
        InvalidSettingError: It is not of that form.

    """
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise InvalidSettingError(f"{what}: {address!r} is not host:port")
    return host.removeprefix("[").removesuffix("]"), int(port)


def advertised_address(listen: str, advertise: str, port: int) -> str:
    """Return the address to publish for a server that is bound to ``port``.

    ``advertise`` overrides ``listen``; its port 0 means the port that was bound. For a server that
    listens on every interface, the name of this host is used: ``0.0.0.0`` would lead each caller to
    itself.
    """
    host, chosen_port = split_address(advertise or listen, "address")
    if not advertise and host in {"0.0.0.0", "::", "*"}:  # noqa: S104 - compared, not bound
        host = socket.getfqdn()
    number = chosen_port if advertise and chosen_port else port
    return f"[{host}]:{number}" if ":" in host else f"{host}:{number}"

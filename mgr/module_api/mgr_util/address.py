"""Addresses, ports and URLs of the services that modules run."""

from __future__ import annotations

import errno
import functools
import ipaddress
import socket
from urllib.parse import urlunsplit


class PortAlreadyInUse(Exception):  # noqa: N818 - Ceph's name
    """Another process listens on this address and port."""


class ServerConfigException(Exception):  # noqa: N818 - Ceph's name
    """A module's server cannot run with its configuration."""


@functools.cache
def get_default_addr() -> str:
    """Return the address of every interface: ``::``, or ``0.0.0.0`` on a host without IPv6."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return "0.0.0.0"  # noqa: S104 - what "every interface" is called
    return "::"


def test_port_allocation(addr: str, port: int) -> None:
    """Check that ``port`` is free at ``addr``.

    Raises:
        PortAlreadyInUse: It is taken.
        OSError: It cannot be used for another reason.

    """
    family = socket.AF_INET6 if _is_ipv6(addr) else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.bind((addr, port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortAlreadyInUse(f"{addr} port {port} is in use") from error
        raise


# pytest would collect a function of this name in every test file that imports it.
test_port_allocation.__test__ = False  # type: ignore[attr-defined] # read by pytest


def build_url(host: str, scheme: str | None = None, port: int | None = None, path: str = "") -> str:
    """Make a URL; an IPv6 ``host`` gets brackets. Without ``scheme`` it begins with ``//``."""
    netloc = f"[{host}]" if _is_ipv6(host) else host
    if port:
        netloc += f":{port}"
    return urlunsplit((scheme or "", netloc, path, "", ""))


def _is_ipv6(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).version == 6
    except ValueError:
        return False

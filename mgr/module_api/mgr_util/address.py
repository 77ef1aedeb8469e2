"""Addresses and ports that a module serves on."""

from __future__ import annotations

import errno
import functools
import ipaddress
import socket
from urllib.parse import urlunsplit


class PortAlreadyInUse(Exception):  # noqa: N818 - Ceph's name
    """Somebody else listens there."""


class ServerConfigException(Exception):  # noqa: N818 - Ceph's name
    """What a module was told about its server cannot be done."""


@functools.cache
def get_default_addr() -> str:
    """The address that means every interface of this host: ``::``, or ``0.0.0.0`` without IPv6."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return "0.0.0.0"  # noqa: S104 - what "every interface" is called
    return "::"


def test_port_allocation(addr: str, port: int) -> None:
    """Return if ``port`` is free at ``addr``.

    Raises:
        PortAlreadyInUse: It is taken.
        OSError: It cannot be had for another reason.

    """
    family = socket.AF_INET6 if _is_ipv6(addr) else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.bind((addr, port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortAlreadyInUse(f"{addr} port {port} is in use") from error
        raise


# pytest takes every function of this name that a test file imports for a test.
test_port_allocation.__test__ = False  # type: ignore[attr-defined] # read by pytest


def build_url(host: str, scheme: str | None = None, port: int | None = None, path: str = "") -> str:
    """A URL; an IPv6 ``host`` gets its brackets. Without ``scheme`` it begins with ``//``."""
    netloc = f"[{host}]" if _is_ipv6(host) else host
    if port:
        netloc += f":{port}"
    return urlunsplit((scheme or "", netloc, path, "", ""))


def _is_ipv6(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).version == 6
    except ValueError:
        return False

"""Where a module's page listens, the address it is published under, and its certificate.

The module declares the options ``server_addr``, ``server_port`` and ``tls``, by ``page_options``.

Ours, not ceph-mgr's: a module that uses it does not load in ceph-mgr.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any, Final, Protocol

from mgr.module_api.mgr_util.address import ServerConfigException, build_url
from mgr.module_api.mgr_util.served_tls import ServedTls, TlsFiles
from mgr.module_api.option import Option

EVERY_INTERFACE: Final = frozenset({"::", "0.0.0.0"})  # noqa: S104 - compared with, not listened on
TLS_OPTION: Final = "tls"
PORT_MAX: Final = 65535


class PageModule(Protocol):
    """What is read of a module, active or standby."""

    def get_localized_module_option(self, key: str, default: Any = None) -> Any:
        """Return an option of this manager's module."""
        ...

    def get_ceph_option(self, key: str) -> Any:
        """Return an option of the manager."""
        ...

    def get_mgr_ip(self) -> str:
        """Return the manager's address."""
        ...


def page_options(port: int = 0) -> tuple[Option, ...]:
    """Return the options of a page whose port is ``port`` by default; 0 is any free one.

    Both classes of a module declare them, so that the page of a standby listens likewise.
    """
    return (
        Option(
            "server_addr",
            default="",
            desc="Address of the page; empty: this manager's own. Read when the module starts",
        ),
        Option(
            "server_port",
            type="uint",
            default=port,
            min=0,
            max=PORT_MAX,
            desc="Port of the page; 0: any free one. Read when the module starts",
        ),
        Option(
            TLS_OPTION,
            type="bool",
            default=True,
            desc="Serve over TLS if there is a certificate. Read when the module starts",
        ),
    )


def listen_address(module: PageModule) -> tuple[str, int]:
    """Return host and port of the options ``server_addr`` and ``server_port``.

    They are localized: each manager may have its own, so that three can run on one machine. An
    empty address is the manager's own.
    """
    host = module.get_localized_module_option("server_addr") or module.get_mgr_ip()
    return str(host), int(module.get_localized_module_option("server_port") or 0)


def page_url(module: PageModule, host: str, port: int) -> str:
    """Return the address to publish for a page that listens on ``host`` and ``port``."""
    # Clients cannot connect to "every interface", so publish the manager's own address.
    reached_as = module.get_mgr_ip() if host in EVERY_INTERFACE else host
    return build_url(reached_as, "https" if _files(module)[0] else "http", port, "/")


def manager_tls(
    module: PageModule, configure: Callable[[ssl.SSLContext], object] = lambda _: None
) -> ssl.SSLContext | None:
    """Return a TLS context with the manager's own certificate; None if it has none.

    None as well if the module's option ``tls`` is false. Connections use the certificate as it is
    when they begin, so one that is renewed is served from then on. ``configure`` may set more, such
    as a CA for clients, on each context that is made of it; what is set on the returned one is
    refused.

    Raises:
        ServerConfigException: The files cannot be used.

    """
    cert, key = _files(module)
    if not cert:
        return None
    try:
        return ServedTls(TlsFiles(cert, key), configure)
    except OSError as error:
        raise ServerConfigException(f"TLS of the page: {cert}: {error}") from None


def _files(module: PageModule) -> tuple[str, str]:
    if not module.get_localized_module_option(TLS_OPTION, True):  # noqa: FBT003 - the interface's
        return "", ""
    cert, key = module.get_ceph_option("mgr_tls_cert"), module.get_ceph_option("mgr_tls_key")
    return str(cert or ""), str(key or "")

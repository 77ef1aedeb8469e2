"""Dashboard: web pages that show the cluster and operate it.

The active serves the pages; standbys redirect to it (docs/adr/0056). No ``from __future__ import
annotations`` here: commands are derived from annotations.
"""

from typing import Any, Final

from mgr_module import MgrModule, MgrStandbyModule, Option
from mgr_util import TlsFiles, build_url, listen_address, page_options

from .application import Dashboard
from .server import PageServer
from .standby import RedirectPages

EVERY_INTERFACE: Final = ("::", "0.0.0.0")  # noqa: S104 - recognised, not bound to

SERVER_PORT: Final = 7490
"""The default of ``server_port``."""
SERVER_OPTIONS: Final = (
    *page_options(SERVER_PORT),
    Option(
        "tls_cert",
        default="",
        desc="File with a certificate for the pages, on each manager's host; empty: the manager's",
    ),
    Option("tls_key", default="", desc="File with the key of tls_cert"),
    Option(
        "tls_ca",
        default="",
        desc="File with the authority whose client certificates sign a browser in; may be empty",
    ),
    Option(
        "server_names",
        default="",
        runtime=True,
        desc="Host names under which browsers may open the pages, separated by commas; "
        "addresses and localhost are always accepted",
    ),
)


class Module(MgrModule):
    """Serves the pages of the active manager."""

    EFFECTS = "store"
    MODULE_OPTIONS = [  # noqa: RUF012 - the host appends to it, as to every module's
        *SERVER_OPTIONS,
        Option(
            "session_hours",
            type="uint",
            default=8,
            min=1,
            max=720,
            runtime=True,
            desc="After how many hours a person has to sign in again",
        ),
    ]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Prepare the server; ``serve`` opens it."""
        super().__init__(*args, **kwargs)
        self._server = PageServer(_tls_files(self))

    def serve(self) -> None:
        """Serve the pages until ``shutdown``."""
        host, port = listen_address(self)
        dashboard = Dashboard(self, scheme=_scheme(self), port_default=SERVER_PORT)
        self._server.run(
            dashboard.application,
            host,
            port,
            ready=lambda bound: self.set_uri(_url(self, host, bound)),
        )

    def shutdown(self) -> None:
        """Make ``serve`` return, and every open page look for the next active."""
        self._server.close()


class StandbyModule(MgrStandbyModule):
    """Redirects browsers to the active's pages."""

    MODULE_OPTIONS = [*SERVER_OPTIONS]  # noqa: RUF012 - the host appends to it

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Prepare the server; ``serve`` opens it."""
        super().__init__(*args, **kwargs)
        self._server = PageServer(_tls_files(self))

    def serve(self) -> None:
        """Redirect until ``shutdown``."""
        host, port = listen_address(self)
        pages = RedirectPages(self.get_mgr_id(), self.get_active_uri)
        self._server.run(
            lambda _: pages.application(),
            host,
            port,
            ready=lambda bound: self.log.info("redirects on port %d", bound),
        )

    def shutdown(self) -> None:
        """Make ``serve`` return."""
        self._server.close()


def _tls_files(module: MgrModule | MgrStandbyModule) -> TlsFiles | None:
    if not module.get_localized_module_option("tls", True):  # noqa: FBT003 - the interface's
        return None
    certificate, key, authority = (
        str(module.get_localized_module_option(name) or "")
        for name in ("tls_cert", "tls_key", "tls_ca")
    )
    if not certificate:
        certificate, key = (
            str(module.get_ceph_option(name) or "") for name in ("mgr_tls_cert", "mgr_tls_key")
        )
    return TlsFiles(certificate, key, authority) if certificate else None


def _url(module: MgrModule, host: str, port: int) -> str:
    # Clients cannot connect to "every interface", so publish the manager's own address.
    reached_as = module.get_mgr_ip() if host in EVERY_INTERFACE else host
    return build_url(reached_as, _scheme(module), port, "/")


def _scheme(module: MgrModule) -> str:
    return "https" if _tls_files(module) else "http"

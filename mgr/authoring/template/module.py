"""Example: keeps a list of names, warns if it grows too long, and shows it on a page.

No ``from __future__ import annotations`` here: commands are derived from annotations.
"""

import errno
import html
from http import HTTPStatus
from typing import Any, List

from mgr_module import (
    CLICommand,
    CLIReadCommand,
    HandleCommandResult,
    MgrModule,
    MgrStandbyModule,
    Option,
)
from mgr_util import (
    HttpPage,
    HttpReply,
    listen_address,
    manager_tls,
    page_options,
    page_url,
    redirect_to_active,
    text_reply,
)
from object_format import Responder

PREFIX = "name/"
"""Prefix of the keys under which the names are stored."""


class Module(MgrModule):
    """The active class: one instance runs, on the active manager."""

    EFFECTS = "store"  # it changes nothing outside the manager
    MODULE_OPTIONS = [
        *page_options(),  # where the page listens, and whether over TLS
        Option("limit", type="uint", default=10, runtime=True, desc="Warn above so many names"),
    ]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Prepare the page; ``serve`` opens it."""
        super().__init__(*args, **kwargs)
        self._page = HttpPage(self._reply)
        self._update_checks()

    # -- commands ---------------------------------------------------------------------------

    @CLIReadCommand("example ls")
    @Responder()
    def ls(self) -> List[str]:
        """List the names."""
        return self._names()

    @CLICommand("example add", perm="rw", idempotent=True)
    def add(self, name: str) -> HandleCommandResult:
        """Add a name."""
        self.set_store(PREFIX + name, "1")
        self._update_checks()
        return HandleCommandResult()

    @CLICommand("example rm", perm="rw", idempotent=True)
    def rm(self, name: str) -> HandleCommandResult:
        """Remove a name."""
        if name not in self._names():
            return HandleCommandResult(-errno.ENOENT, "", f"there is no name {name!r}")
        self.set_store(PREFIX + name, None)
        self._update_checks()
        return HandleCommandResult()

    # -- called by the manager --------------------------------------------------------------

    def serve(self) -> None:
        """Serve the page until ``shutdown``."""
        host, port = listen_address(self)
        self._page.run(
            host,
            port,
            ready=lambda bound: self.set_uri(page_url(self, host, bound)),
            tls=manager_tls(self),
        )

    def shutdown(self) -> None:
        """Make ``serve`` return."""
        self._page.close()

    def config_notify(self) -> None:
        """Apply a changed option."""
        self._update_checks()

    # -- inside -----------------------------------------------------------------------------

    def _names(self) -> List[str]:
        return [key[len(PREFIX) :] for key in self.get_store_prefix(PREFIX)]

    def _update_checks(self) -> None:
        count, limit = len(self._names()), int(self.get_module_option("limit"))
        check = {
            "severity": "warning",
            "summary": f"{count} names, more than {limit}",
            "count": count,
            "detail": ["remove some: example rm NAME"],
        }
        self.set_health_checks({"EXAMPLE_TOO_MANY": check} if count > limit else {})

    def _reply(self, _target: str) -> HttpReply:
        items = "".join(f"<li>{html.escape(name)}</li>" for name in self._names())
        body = f"<!doctype html><title>example</title><ul>{items}</ul>\n"
        return text_reply(HTTPStatus.OK, body, html=True)


class StandbyModule(MgrStandbyModule):
    """The standby class: on the other managers it redirects browsers to the active's page."""

    MODULE_OPTIONS = [*page_options()]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Prepare the page; ``serve`` opens it."""
        super().__init__(*args, **kwargs)
        self._page = HttpPage(self.redirect)

    def redirect(self, target: str) -> HttpReply:
        """Send a browser to the same page of the active; the active changes, so ask each time."""
        return redirect_to_active(self.get_active_uri(), target)

    def serve(self) -> None:
        """Redirect until ``shutdown``."""
        host, port = listen_address(self)
        self._page.run(
            host,
            port,
            ready=lambda bound: self.log.info("page on port %d", bound),
            tls=manager_tls(self),
        )

    def shutdown(self) -> None:
        """Make ``serve`` return."""
        self._page.close()

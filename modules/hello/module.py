"""Hello, the tutorial module: options, commands, stored data, health check, page, standby class.

Read it from top to bottom beside docs/tutorials/first-module.md. It imports nothing of the
manager but ``mgr_module``, ``object_format`` and ``mgr_util``, the names that Ceph's modules
import.
No ``from __future__ import annotations`` here: commands are derived from annotations.
"""

import errno
import html
from http import HTTPStatus
from typing import Any

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
    warning_html,
)
from object_format import ErrorResponse, Responder

COUNT = "count"
"""Key under which the count is stored."""


def sentence(who: str, *, emphatic: bool) -> str:
    """Return the greeting of ``who``."""
    return f"Hello, {who}{'!' if emphatic else ''}"


class Module(MgrModule):
    """The active class: greets, counts, and serves a page."""

    EFFECTS = "store"
    MODULE_OPTIONS = [  # noqa: RUF012 - the host appends to it, as to every module's
        *page_options(),
        Option("place", default="World", runtime=True, desc="Whom to greet by default"),
        Option("emphatic", type="bool", default=True, runtime=True, desc="End with a mark"),
    ]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Prepare the page; ``serve`` opens it."""
        super().__init__(*args, **kwargs)
        self._page = HttpPage(self._reply)
        self.config_notify()

    # -- commands ---------------------------------------------------------------------------

    @CLIReadCommand("hello")
    def hello(self, person_name: str = "") -> HandleCommandResult:
        """Say hello."""
        return HandleCommandResult(stdout=self._sentence(person_name))

    @CLICommand("hello count", perm="rw")
    def count(self, by: int = 1) -> HandleCommandResult:
        """Count, and say how far it got. Not idempotent: each request counts once."""
        if by < 1:
            why = f"cannot count by {by}: use 1 or more"
            return HandleCommandResult(-errno.EINVAL, "", why)
        total = self._count() + by
        self.set_store(COUNT, str(total))
        return HandleCommandResult(stdout=str(total))

    @CLICommand("hello reset", perm="rw", idempotent=True)
    def reset(self) -> HandleCommandResult:
        """Reset the count. Idempotent: a retry after a failover does no harm."""
        self.set_store(COUNT, None)
        return HandleCommandResult(stderr="count is reset")

    @CLIReadCommand("hello show")
    @Responder()
    def show(self, item: str = "") -> dict[str, Any]:
        """Show the module's state, all of it or one item."""
        known = {
            "place": self.get_module_option("place"),
            "emphatic": self.get_module_option("emphatic"),
            "count": self._count(),
            "manager": self.get_mgr_id(),
            "term": self.get_term(),
        }
        if not item:
            return known
        if item not in known:
            raise ErrorResponse(f"no item {item!r}: there are {', '.join(known)}", -errno.ENOENT)
        return {item: known[item]}

    # -- lifecycle --------------------------------------------------------------------------

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
        """Raise a health check while there is nobody to greet, else clear it."""
        check = {
            "severity": "warning",
            "summary": "hello has nobody to greet",
            "count": 1,
            "detail": ["option mgr/hello/place is blank; set it to a name"],
        }
        blank = not str(self.get_module_option("place")).strip()
        self.set_health_checks({"MGR_HELLO_NOBODY": check} if blank else {})

    # -- inside -----------------------------------------------------------------------------

    def _sentence(self, who: str = "") -> str:
        place = str(self.get_module_option("place"))
        return sentence(who or place, emphatic=bool(self.get_module_option("emphatic")))

    def _count(self) -> int:
        return int(self.get_store(COUNT) or 0)

    def _reply(self, target: str) -> HttpReply:
        self.log.debug("page %s", target)
        body = (
            "<!doctype html><title>hello</title>"
            f"<h1>{html.escape(self._sentence())}</h1>"
            f"<p>served by manager {html.escape(self.get_mgr_id())}</p>{warning_html(self)}\n"
        )
        return text_reply(HTTPStatus.OK, body, html=True)


class StandbyModule(MgrStandbyModule):
    """The standby class: redirects clients to the active manager's page."""

    MODULE_OPTIONS = [*page_options()]  # noqa: RUF012 - the host appends to it

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Prepare the page; ``serve`` opens it."""
        super().__init__(*args, **kwargs)
        self._page = HttpPage(lambda target: redirect_to_active(self.get_active_uri(), target))

    def serve(self) -> None:
        """Redirect until ``shutdown``."""
        host, port = listen_address(self)
        self._page.run(
            host,
            port,
            ready=lambda bound: self.log.info("redirects on %d", bound),
            tls=manager_tls(self),
        )

    def shutdown(self) -> None:
        """Make ``serve`` return."""
        self._page.close()

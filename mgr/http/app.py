"""The pages of the manager's HTTP port: health, role, metrics, index and redirects.

Every address in a redirect was published by the active. None is taken from the request: a forged
``Host`` header could otherwise redirect a client to any host.

``/livez``, ``/readyz`` and ``/active`` answer everybody. Where the cluster demands authentication,
all other pages ask for a client certificate or a token (``mgr.http.access``).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Awaitable, Callable
from html import escape
from typing import Final
from urllib.parse import quote, urlsplit

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mgr.access.caps import AccessRequest
from mgr.host.cluster_view import ClusterView, LeaderView
from mgr.host.role import Role
from mgr.http.access import HttpAccess

NO_STORE: Final = {"Cache-Control": "no-store"}
"""For every answer: the active may change at any moment, so nothing may be cached."""
RETRY: Final = NO_STORE | {"Retry-After": "1"}
SERVING: Final = "active"

METRICS: Final = AccessRequest("metrics", "r")
PAGES: Final = AccessRequest("status", "r")
"""What a client must be allowed to see the measurements, and all pages beside the probes."""

Handler = Callable[[Request], Awaitable[Response]]

RULES: Final = {
    "/livez": "open: 200 while this process runs its event loop",
    "/readyz": "open: 200 while this manager is a standby or more and its view is current",
    "/active": "gated: 200 while the gate is open, 503 and Retry-After otherwise",
    "/metrics": "open: measurements of this process, its role among them",
    "/services/{module}": "gated: the view names no active whose gate is shut",
    "/{path:path}": "gated: the active shows its index; standbys redirect to it",
}
"""Every route, in the order in which they are matched, and whether it answers as the active."""

_STYLE: Final = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 3rem auto; max-width: 42rem }
h1 { font-size: 1.4rem } h2 { font-size: 1.1rem; margin-top: 2rem }
time { white-space: nowrap }
table { border-collapse: collapse } td { padding: .15rem 1.5rem .15rem 0 }
"""
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

SECURITY_HEADERS: Final = {
    # The index has one style sheet of its own, and nothing else is ever loaded.
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Headers of every answer. ``Strict-Transport-Security`` is not among them: it would hold for every
port of the host, the pages of modules included, which may not speak TLS."""

_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>{style}</style></head><body>
<h1>{title}</h1>
{warning}<p>Active manager of cluster <b>{cluster}</b>, term {term},
since <time datetime="{since}">{since_shown}</time>.</p>
<h2>Pages of modules</h2>
{services}
<h2>Standbys</h2>
{standbys}
</body></html>
"""

_UNPROTECTED: Final = """<p role="alert"><strong>MGR_UNPROTECTED: managers of this cluster listen on
the network without TLS and client certificates. Whoever reaches them controls the cluster.</strong>
</p>
"""


class HttpPages:
    """The handlers of all routes."""

    def __init__(  # noqa: PLR0913 - what the pages are made of, each by name
        self,
        name: str,
        cluster: str,
        *,
        role_of: Callable[[], Role],
        view: ClusterView,
        registry: CollectorRegistry,
        fresh_s: float,
        why_not_ready: Callable[[], str] = str,
        certificates: bool = False,
    ) -> None:
        """Serve manager ``name``; it is not ready while its view is older than ``fresh_s``.

        Nor is it while ``why_not_ready`` returns a reason. ``certificates``: TLS verifies those of
        clients.
        """
        self._access = HttpAccess(view, certificates=certificates)
        self._why_not_ready = why_not_ready
        self._name = name
        self._cluster = cluster
        self._role_of = role_of
        self._view = view
        self._registry = registry
        self._fresh_s = fresh_s

    def application(self) -> Starlette:
        """Return the ASGI application."""
        return Starlette(
            routes=[
                Route("/livez", self.livez),
                Route("/readyz", self.readyz),
                Route("/active", self.active),
                Route("/metrics", self._guarded(self.metrics, METRICS)),
                Route("/services/{module}", self._guarded(self.service, PAGES), methods=_METHODS),
                Route("/{path:path}", self._guarded(self.index_or_redirect), methods=_METHODS),
            ],
            middleware=[Middleware(_SecurityHeaders)],
        )

    async def livez(self, _: Request) -> Response:
        """Answer 200: the process runs its event loop."""
        return PlainTextResponse("ok\n", headers=NO_STORE)

    async def readyz(self, _: Request) -> Response:
        """Answer 200 if this manager's view of the cluster is current, else 503."""
        age_s = self._view.age_s()
        why = self._why_not_ready()
        if not why and age_s <= self._fresh_s:
            return PlainTextResponse("ok\n", headers=NO_STORE)
        text = f"not ready: {why or f'etcd last answered {age_s:.1f} s ago'}\n"
        return PlainTextResponse(text, status_code=503, headers=RETRY)

    async def active(self, _: Request) -> Response:
        """Answer 200 on the active, else 503, for load balancers; the body names the active."""
        leader = self._view.leader()
        known = {
            "active": leader.name if leader else None,
            "address": leader.http_address if leader else None,
            "term": leader.term if leader else 0,
        }
        if self._serves(leader):
            return JSONResponse(known, headers=NO_STORE)
        known_other = leader is not None and leader.name != self._name
        return JSONResponse(known, status_code=503, headers=NO_STORE if known_other else RETRY)

    async def metrics(self, _: Request) -> Response:
        """Show this manager's metrics in the Prometheus text format."""
        return Response(generate_latest(self._registry), media_type=CONTENT_TYPE_LATEST)

    async def service(self, request: Request) -> Response:
        """Redirect to the page that a module published; every manager can do this."""
        module = request.path_params["module"]
        if self._view.leader() is None:
            return _no_active()
        uri = self._view.services().get(module, "")
        if not is_page(uri):
            return _unknown(f"module {module!r} has published no page")
        return Response(status_code=307, headers=NO_STORE | {"Location": quote(uri, safe=_URI)})

    async def index_or_redirect(self, request: Request) -> Response:
        """Show the index on the active; redirect to it from a standby."""
        leader = self._view.leader()
        if self._serves(leader):
            if request.url.path == "/":
                return HTMLResponse(self._index(leader), headers=NO_STORE)
            return _unknown(f"there is no page {request.url.path!r} here")
        if leader is None or leader.name == self._name or not leader.http_address:
            # The view may name this manager shortly before it serves and after it stopped: a
            # redirect would lead back here.
            return _no_active()
        # The scheme of this connection, not of a header; all managers use the same one.
        where = f"{request.url.scheme}://{leader.http_address}{_target(request)}"
        return Response(status_code=307, headers=NO_STORE | {"Location": where})

    def _guarded(self, handler: Handler, needed: AccessRequest = PAGES) -> Handler:
        async def guarded(request: Request) -> Response:
            refusal = self._access.refusal(request, needed)
            return await handler(request) if refusal is None else refusal

        return guarded

    def _serves(self, leader: LeaderView | None) -> bool:
        return leader is not None and leader.name == self._name and self._role_of().state == SERVING

    def _index(self, leader: LeaderView | None) -> str:
        managers = self._view.presences()
        pages = [
            f'<tr><td>{escape(module)}</td><td><a href="{escape(uri)}">{escape(uri)}</a></td></tr>'
            for module, uri in sorted(self._view.services().items())
            if is_page(uri)
        ]
        waiting = [
            f"<tr><td>{escape(each.name)}</td><td>{escape(each.grpc_address)}</td>"
            f"<td>{'warm' if each.warm else 'warming up'}</td></tr>"
            for each in managers
            if each.name != self._name
        ]
        return _PAGE.format(
            style=_STYLE,
            title=f"mgr.{escape(self._name)}",
            warning=_UNPROTECTED if any(each.unprotected for each in managers) else "",
            cluster=escape(self._cluster),
            term=leader.term if leader else 0,
            since=escape(leader.since) if leader else "",
            since_shown=escape(_seconds(leader.since)) if leader else "",
            services=_table(pages, "No module has published a page."),
            standbys=_table(waiting, "None: if this manager fails, no other takes over."),
        )


class _SecurityHeaders:
    """Adds ``SECURITY_HEADERS`` to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(SECURITY_HEADERS)
            await send(message)

        await self._app(scope, receive, send_with_headers)


def _seconds(since: str) -> str:
    """Format an ISO time for display: whole seconds, and the zone by name."""
    return since.partition(".")[0].partition("+")[0].replace("T", " ") + " UTC"


def is_page(uri: str) -> bool:
    """Return whether ``uri`` is http or https with a host, and never ``javascript:``."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.netloc)


_METHODS: Final = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
"""The methods that are redirected: all, since a 307 keeps method and body."""
_URI: Final = ":/?#[]@!$&'()*+,;=%-._~"
"""Characters that stay as they are in an address; others, above all line breaks, are encoded."""


def _target(request: Request) -> str:
    # The raw path, so that %2F stays %2F. Exactly one leading slash: some clients read two after
    # "http://host:port" as another host.
    raw: bytes = request.scope.get("raw_path") or request.url.path.encode()
    path = "/" + quote(raw.lstrip(b"/"), safe=_URI.replace("?", ""))
    query: bytes = request.scope["query_string"]
    return f"{path}?{quote(query, safe=_URI)}" if query else path


def _no_active() -> Response:
    return PlainTextResponse(
        "no manager is active at the moment: retry\n", status_code=503, headers=RETRY
    )


def _unknown(what: str) -> Response:
    return PlainTextResponse(f"{what}\n", status_code=404, headers=NO_STORE)


def _table(rows: list[str], otherwise: str) -> str:
    return f"<table>{''.join(rows)}</table>" if rows else f"<p>{otherwise}</p>"

"""What protects the pages: headers of every answer, accepted host names, limits of a request.

The pages need no script but the files under ``/static``, so the content security policy allows
nothing inline. A page may ask the other managers which of them is active; their addresses are in
``connect-src``.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Collection, Iterable
from http import HTTPStatus
from typing import Any, Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse

from .server import Application, Scope

BODY_BYTES_MAX: Final = 1 << 20
"""A map may have 1 MiB; every other form is a few hundred bytes."""
LOCAL_NAMES: Final = frozenset({"localhost"})

FIXED_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not "no-referrer": browsers would then hide the origin of our own forms from us, too.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
}
STANDBY_HEADERS: Final = {
    **FIXED_HEADERS,
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'",
}
WHERE_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    # Pages of another manager read it. It says what a redirect says, and no more.
    "Access-Control-Allow-Origin": "*",
    "Cross-Origin-Resource-Policy": "cross-origin",
}


def content_policy(peers: Iterable[str]) -> str:
    """Return the content security policy of a page that may ask ``peers`` (origins)."""
    others = " ".join(["'self'", *sorted(peers)])
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self'",
            f"connect-src {others}",
            f"form-action {others}",
            "frame-ancestors 'none'",
            "base-uri 'none'",
        )
    )


class Protection:
    """ASGI middleware: refuses foreign host names and large bodies, and adds the headers."""

    def __init__(
        self,
        application: Application,
        *,
        names: Callable[[], Collection[str]],
        peers: Callable[[], Iterable[str]],
    ) -> None:
        """Accept host names in ``names``; pages may connect to ``peers``."""
        self._application = application
        self._names = names
        self._peers = peers

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        headers = Headers(scope=scope)
        tls = scope["scheme"] == "https"

        async def protected(message: Any) -> None:
            if message["type"] == "http.response.start":
                self._add_headers(MutableHeaders(scope=message), tls=tls)
            await send(message)

        if refusal := _refusal(headers, self._names()):
            await refusal(scope, receive, protected)
            return
        await self._application(scope, receive, protected)

    def _add_headers(self, headers: MutableHeaders, *, tls: bool) -> None:
        for name, value in FIXED_HEADERS.items():
            headers.setdefault(name, value)
        headers.setdefault("Cache-Control", "no-store")
        headers.setdefault("Content-Security-Policy", content_policy(self._peers()))
        if tls:
            headers.setdefault("Strict-Transport-Security", "max-age=31536000")


def _refusal(headers: Headers, names: Collection[str]) -> PlainTextResponse | None:
    host = host_of(headers.get("host", ""))
    if not accepted_host(host, names):
        # A page of a stranger whose name was made to resolve to this address must not act here.
        return PlainTextResponse(
            f"this dashboard is not called {host!r}: open it by its address, or add the name "
            "to the option mgr/dashboard/server_names\n",
            status_code=HTTPStatus.MISDIRECTED_REQUEST,
        )
    length = headers.get("content-length", "0")
    chunked = "transfer-encoding" in headers
    if chunked or not length.isdecimal() or int(length) > BODY_BYTES_MAX:
        return PlainTextResponse(
            f"a request may have {BODY_BYTES_MAX} bytes, and says how many it has\n",
            status_code=HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        )
    return None


def host_of(header: str) -> str:
    """Return the host in a ``Host`` header, without its port; in lower case."""
    if header.startswith("["):
        return header.partition("]")[0].removeprefix("[").lower()
    return header.partition(":")[0].lower()


def accepted_host(host: str, names: Collection[str]) -> bool:
    """Return whether a page may be opened under ``host``: an address, or one of ``names``."""
    if host in LOCAL_NAMES or host in names:
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True

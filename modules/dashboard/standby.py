"""What a standby answers: every page redirects to the active, ``/where`` names it."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from mgr_util import redirect_to_active

from .security import STANDBY_HEADERS, WHERE_HEADERS

METHODS: Final = ["GET", "HEAD", "POST"]
NO_ACTIVE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>No active manager</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="1"></head>
<body><h1>No manager is active yet</h1>
<p>This page looks again every second and goes on by itself.</p></body></html>
"""


class RedirectPages:
    """The ASGI application of a standby. It knows nothing but the active's address."""

    def __init__(self, manager: str, active_uri: Callable[[], str]) -> None:
        """Redirect to what ``active_uri`` returns at each request: the active changes."""
        self._manager = manager
        self._active_uri = active_uri

    def application(self) -> Starlette:
        """Return the ASGI application."""
        return Starlette(
            routes=[
                Route("/where", self.where),
                Route("/{path:path}", self.redirect, methods=METHODS),
            ]
        )

    async def where(self, _: Request) -> Response:
        """Name the active, for pages of another manager that look for it."""
        known = {"serving": False, "manager": self._manager, "active": self._active_uri()}
        return JSONResponse(known, headers=WHERE_HEADERS)

    async def redirect(self, request: Request) -> Response:
        """Redirect to the same page of the active; if none is known, say so and look again."""
        path = request.scope.get("raw_path") or request.url.path.encode()
        query = request.scope["query_string"]
        target = b"?".join([path, query]) if query else path
        reply = redirect_to_active(self._active_uri(), target.decode("latin-1"))
        if reply.status == HTTPStatus.TEMPORARY_REDIRECT:
            # Not 307 for a form: the same change must not be sent to another manager unasked.
            status = reply.status if request.method in {"GET", "HEAD"} else HTTPStatus.SEE_OTHER
            return Response(status_code=status, headers={**reply.headers, **STANDBY_HEADERS})
        headers = {"Retry-After": reply.headers["Retry-After"], **STANDBY_HEADERS}
        return HTMLResponse(NO_ACTIVE, status_code=reply.status, headers=headers)

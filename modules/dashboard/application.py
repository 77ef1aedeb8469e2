"""The pages of the active: their routes, who may see them, and what their buttons do."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlsplit

import anyio.to_thread
from jinja2 import TemplateError
from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import (
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Route

from mgr_module import MgrModule
from mgr_util import unprotected_warning

from . import console, live
from .actions import ACTIONS
from .page import NotFoundError, Page, PageRequest, Viewer, sources_of
from .pages import PAGES
from .peers import Peers
from .reader import Reader
from .render import environment, render, static_files
from .security import WHERE_HEADERS, Protection, host_of
from .server import Application
from .sessions import TOKEN_LONGEST, Session, Sessions

LOOPBACK: Final = ("127.", "::1")
IMMUTABLE: Final = {"Cache-Control": "public, max-age=31536000, immutable"}
GZIP_FROM_BYTES: Final = 512
FIELDS_MAX: Final = 32
OUTPUT_LONGEST: Final = 200_000
NOT_FOUND: Final = "Not found"


class Dashboard:
    """The application of one term. Handlers that read the cluster run on threads."""

    def __init__(self, module: MgrModule, *, scheme: str, port_default: int) -> None:
        """Serve what the interface of ``module`` gives; ``scheme`` is that of every manager's."""
        self._module = module
        self._reader = Reader(module)
        self._peers = Peers(module, self._reader, scheme=scheme, port_default=port_default)
        self._sessions = Sessions(module)
        self._static = static_files()
        self._stopping = asyncio.Event()
        self._streams = 0
        environment().get_template("layout.html")

    def application(self, stopping: asyncio.Event) -> Application:
        """Return the ASGI application; open pages are notified when ``stopping`` is set."""
        self._stopping = stopping
        routes = [
            Route("/where", self.where),
            Route("/static/{name}", self.static),
            Route("/sign-in", self.sign_in, methods=["GET", "POST"]),
            Route("/sign-out", self.sign_out, methods=["POST"]),
            Route("/continue", self.go_on, methods=["POST"]),
            Route("/do/{action}", self.do, methods=["POST"]),
            Route("/console/complete", self.complete),
            Route("/console/run", self.run, methods=["POST"]),
        ]
        for page in PAGES:
            routes.append(Route(page.path, partial(self.show, page)))
            routes.append(Route(f"/live{page.path}", partial(self.stream, page)))
        pages = Starlette(routes=routes, exception_handlers={404: self._no_such_page})
        compressed = GZipMiddleware(pages, minimum_size=GZIP_FROM_BYTES)
        return Protection(compressed, names=self._names, peers=lambda: self._peers.origins)

    # -- pages ----------------------------------------------------------------------------------

    async def show(self, page: Page, request: Request) -> Response:
        """Show a page, or its content alone if a script asks."""
        session = await self._in_thread(self._sessions.session_of, request)
        caller = await self._in_thread(self._sessions.caller_of, request, session)
        if caller is None:
            return self._to_sign_in(request)
        shown: Response = await self._in_thread(self._shown, page, request, session, caller)
        return shown

    async def stream(self, page: Page, request: Request) -> Response:
        """Send a page's content whenever it changes."""
        session = await self._in_thread(self._sessions.session_of, request)
        if session is None:
            # It is too old. The page loads itself again, and is sent to sign in.
            gone = live.event("gone", "")
            return Response(gone, media_type="text/event-stream", headers=live.HEADERS)
        if self._streams >= live.STREAMS_MAX:
            return PlainTextResponse("too many open pages\n", HTTPStatus.SERVICE_UNAVAILABLE)

        def make() -> live.Snapshot | None:
            caller = self._sessions.caller_of(request, session)
            return None if caller is None else self._snapshot(page, request, session, caller)

        async def counted() -> Any:
            self._streams += 1
            try:
                async for each in live.events(make, self._tick, self._stopping):
                    yield each
            finally:
                self._streams -= 1

        return StreamingResponse(counted(), media_type="text/event-stream", headers=live.HEADERS)

    def _shown(
        self, page: Page, request: Request, session: Session | None, caller: Mapping[str, Any]
    ) -> Response:
        kept = session or Session()
        viewer = self._viewer(caller)
        try:
            main, _, title = self._main(page, request, viewer, kept)
        except NotFoundError as error:
            main, title = render("missing.html", why=str(error)), NOT_FOUND
        if request.headers.get("hx-request"):
            return HTMLResponse(main)
        status = HTTPStatus.NOT_FOUND if title == NOT_FOUND else HTTPStatus.OK
        shown = self._framed(
            page, main, viewer, kept, title=title, live="" if title == NOT_FOUND else "yes"
        )
        response = HTMLResponse(shown, status_code=status)
        if session is None:
            self._sessions.keep(response, kept, tls=request.url.scheme == "https")
        return response

    def _framed(
        self, page: Page, main: str, viewer: Viewer, session: Session, *, title: str, live: str
    ) -> str:
        self._peers.refresh()
        status = self._reader.status()
        needed = viewer.permitted({each.needs for each in PAGES})
        return render(
            "layout.html",
            main=main,
            title=title,
            cluster=status.value["cluster"] if status.known else "cluster",
            manager=self._module.get_mgr_id(),
            published=self._published().rstrip("/"),
            term=self._module.get_term(),
            viewer=viewer,
            csrf=session.csrf,
            notice="",
            unprotected=unprotected_warning(self._module),
            entry=page.entry,
            navigation=[each for each in PAGES if each.in_navigation and each.needs in needed],
            peers=sorted(self._peers.origins),
            live=live,
            now=f"{_now():.3f}",
        )

    def _main(
        self, page: Page, request: Request, viewer: Viewer, session: Session
    ) -> tuple[str, dict[str, Any], str]:
        """Return a page's content, its sources and its title."""
        if not viewer.may(page.needs):
            refused = render("refused.html", page=page, viewer=viewer)
            return refused, {}, page.title
        asked = PageRequest(
            self._reader, viewer, dict(request.path_params), dict(request.query_params)
        )
        values = page.content(asked)
        title = str(values.pop("title", page.title))
        main = render(f"{page.name}.html", csrf=session.csrf, query=asked.query, **values)
        return main, sources_of(values), title

    def _snapshot(
        self, page: Page, request: Request, session: Session, caller: Mapping[str, Any]
    ) -> live.Snapshot:
        try:
            main, sources, _ = self._main(page, request, self._viewer(caller), session)
        except (NotFoundError, TemplateError) as error:
            main, sources = render("missing.html", why=str(error)), {}
        self._peers.refresh()
        ages = {name: (each.at, each.stale_after_s) for name, each in sources.items()}
        return live.Snapshot(main, {"sources": ages, "ticket": self._sessions.ticket(session)})

    def _tick(self) -> dict[str, Any]:
        return {
            "now": live.now(),
            "current": self._reader.current,
            "peers": sorted(self._peers.origins),
        }

    # -- what buttons do ------------------------------------------------------------------------

    async def do(self, request: Request) -> Response:
        """Run the command of a button and say what came of it."""
        action = ACTIONS.get(request.path_params["action"])
        form = await _form(request)
        session = await self._in_thread(self._sessions.session_of, request)
        if action is None:
            return self._notice(request, "there is no such button", HTTPStatus.NOT_FOUND)
        if refusal := self._forged(request, session, form):
            return refusal
        caller = await self._in_thread(self._sessions.caller_of, request, session)
        if caller is None:
            return self._notice(request, "sign in first", HTTPStatus.UNAUTHORIZED)
        try:
            words = action.words(form)
        except ValueError as error:
            return self._notice(request, str(error), HTTPStatus.BAD_REQUEST)
        result = await self._in_thread(self._module.run_as, caller, words)
        if result.retval:
            status = HTTPStatus.FORBIDDEN if result.retval == -errno.EACCES else HTTPStatus.CONFLICT
            return self._notice(request, result.stderr or "it failed", status)
        return self._notice(request, result.stderr or action.done)

    async def complete(self, request: Request) -> Response:
        """Return the commands that fit what is typed in the console."""
        session = await self._in_thread(self._sessions.session_of, request)
        caller = await self._in_thread(self._sessions.caller_of, request, session)
        if caller is None:
            return PlainTextResponse("sign in first\n", HTTPStatus.UNAUTHORIZED)
        asked = PageRequest(self._reader, self._viewer(caller))
        line = request.query_params.get("line", "")[: console.LINE_LONGEST]
        found = await self._in_thread(console.suggestions, asked, line)
        return HTMLResponse(render("suggestions.html", suggestions=found))

    async def run(self, request: Request) -> Response:
        """Run a line of the console."""
        form = await _form(request)
        session = await self._in_thread(self._sessions.session_of, request)
        if refusal := self._forged(request, session, form):
            return refusal
        caller = await self._in_thread(self._sessions.caller_of, request, session)
        if caller is None:
            return self._notice(request, "sign in first", HTTPStatus.UNAUTHORIZED)
        line = form.get("line", "")
        try:
            words = console.words_of(line)
        except ValueError as error:
            return HTMLResponse(output(line, error=str(error)))
        result = await self._in_thread(self._module.run_as, caller, words)
        return HTMLResponse(output(line, *result))

    def _forged(
        self, request: Request, session: Session | None, form: Mapping[str, str]
    ) -> Response | None:
        """Return the refusal of a form that no page of this session made."""
        origin = request.headers.get("origin", "")
        host = request.headers.get("host", "")
        same = not origin or urlsplit(origin).netloc == host
        given = form.get("csrf", "")
        if session is not None and same and given and session.is_csrf_token(given):
            return None
        return self._notice(
            request, "this form is too old: load the page again", HTTPStatus.FORBIDDEN
        )

    def _notice(self, request: Request, text: str, status: HTTPStatus = HTTPStatus.OK) -> Response:
        failed = status >= HTTPStatus.BAD_REQUEST
        shown = render("notice.html", text=text, failed=failed)
        if request.headers.get("hx-request"):
            return HTMLResponse(shown, status_code=status)
        back = _own_target(request.headers.get("referer", ""))
        page = render("answer.html", text=text, failed=failed, back=back)
        return HTMLResponse(page, status_code=status)

    # -- signing in -----------------------------------------------------------------------------

    async def sign_in(self, request: Request) -> Response:
        """Ask for a token, and start a session with it."""
        tls = request.url.scheme == "https"
        session = await self._in_thread(self._sessions.session_of, request) or Session()
        target = _own_target(request.query_params.get("to", ""))
        if not await self._in_thread(lambda: self._sessions.required):
            return RedirectResponse(target, HTTPStatus.SEE_OTHER)
        address = request.client.host if request.client else ""
        private = tls or address.startswith(LOOPBACK)
        trouble = (
            ""
            if private
            else "This connection is not encrypted, so no token is accepted here: "
            "set mgr/dashboard/tls_cert and tls_key."
        )
        status = HTTPStatus.OK if private else HTTPStatus.FORBIDDEN
        if request.method == "POST" and private:
            form = await _form(request)
            if refusal := self._forged(request, session, form):
                return refusal
            signed_in = Session(form.get("token", "").strip()[:TOKEN_LONGEST])
            caller = await self._in_thread(self._sessions.caller_of, request, signed_in)
            if caller is not None and signed_in.token:
                response: Response = RedirectResponse(target, HTTPStatus.SEE_OTHER)
                await self._in_thread(partial(self._sessions.keep, response, signed_in, tls=tls))
                return response
            trouble, status = (
                "This token names nobody, or is no longer valid.",
                HTTPStatus.FORBIDDEN,
            )
        page = render(
            "sign-in.html",
            csrf=session.csrf,
            trouble=trouble,
            target=target,
            private=private,
            unprotected=await self._in_thread(partial(unprotected_warning, self._module)),
        )
        response = HTMLResponse(page, status_code=status)
        await self._in_thread(partial(self._sessions.keep, response, session, tls=tls))
        return response

    async def sign_out(self, request: Request) -> Response:
        """End the browser's session."""
        form = await _form(request)
        session = await self._in_thread(self._sessions.session_of, request)
        if refusal := self._forged(request, session, form):
            return refusal
        response = RedirectResponse("/sign-in", HTTPStatus.SEE_OTHER)
        self._sessions.forget(response, tls=request.url.scheme == "https")
        return response

    async def go_on(self, request: Request) -> Response:
        """Take over the session of a page that comes from another manager."""
        form = await _form(request)
        session = await self._in_thread(self._sessions.session_in, form.get("ticket", ""))
        target = _own_target(form.get("target", ""))
        if session is None:
            return RedirectResponse(f"/sign-in?to={quote(target)}", HTTPStatus.SEE_OTHER)
        said = quote(form.get("said", "")[:100], safe="=&.")
        response = RedirectResponse(f"{target}#{said}", HTTPStatus.SEE_OTHER)
        await self._in_thread(
            partial(self._sessions.keep, response, session, tls=request.url.scheme == "https")
        )
        return response

    def _to_sign_in(self, request: Request) -> Response:
        target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"/sign-in?to={quote(target)}", HTTPStatus.SEE_OTHER)

    # -- the rest -------------------------------------------------------------------------------

    async def where(self, _: Request) -> Response:
        """Say that this manager leads, for pages that look for the active."""
        return JSONResponse(
            {
                "serving": self._reader.current and not self._stopping.is_set(),
                "manager": self._module.get_mgr_id(),
                "term": self._module.get_term(),
            },
            headers=WHERE_HEADERS,
        )

    async def static(self, request: Request) -> Response:
        """Send a file that never changes under its name."""
        found = self._static.get(request.path_params["name"])
        if found is None:
            return PlainTextResponse("there is no such file\n", HTTPStatus.NOT_FOUND)
        return Response(found[0], media_type=found[1], headers=IMMUTABLE)

    async def _no_such_page(self, request: Request, _: Exception) -> Response:
        page = render(
            "answer.html", text=f"There is no page {request.url.path}.", failed=True, back="/"
        )
        return HTMLResponse(page, status_code=HTTPStatus.NOT_FOUND)

    def _viewer(self, caller: Mapping[str, Any]) -> Viewer:
        return Viewer(caller, lambda prefixes: self._module.permitted(caller, prefixes))

    def _names(self) -> set[str]:
        names = str(self._module.get_module_option("server_names") or "")
        own = host_of(urlsplit(self._published()).netloc)
        return {name.strip().lower() for name in names.split(",") if name.strip()} | {own}

    def _published(self) -> str:
        return str(self._module.get("mgr_map")["services"].get(self._module.module_name, ""))

    async def _in_thread(self, call: Callable[..., Any], *args: Any) -> Any:
        return await anyio.to_thread.run_sync(call, *args)


async def _form(request: Request) -> dict[str, str]:
    """Return the fields of a form as browsers send it; empty if it cannot be read."""
    body = (await request.body()).decode(errors="replace")
    try:
        return dict(parse_qsl(body, keep_blank_values=True, max_num_fields=FIELDS_MAX))
    except ValueError:
        return {}


def output(
    line: str, retval: int = 0, stdout: str = "", stderr: str = "", *, error: str = ""
) -> str:
    """Return what the console shows for a line that was run, or that could not be."""
    failed = -errno.EINVAL if error else retval
    name = errno.errorcode.get(-failed, str(failed)) if failed else ""
    rest = len(stdout) - OUTPUT_LONGEST
    shown = stdout if rest <= 0 else f"{stdout[:OUTPUT_LONGEST]}\n… and {rest} characters more"
    return render("output.html", line=line, retval=name, stdout=shown, stderr=error or stderr)


def _own_target(address: str) -> str:
    """Return the path and query of an address, always one of our own pages."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return "/"
    path = "/" + parts.path.lstrip("/\\")
    return f"{path}?{parts.query}" if parts.query else path


def _now() -> float:
    return live.now()

"""Who is signed in: a cookie that only managers of this cluster can read or make.

The cookie contains the credential itself, encrypted with a key that is stored in the cluster. So
every request is checked with the credential as it is now, a revoked one ends at once, and the next
active accepts the same cookie.
"""

from __future__ import annotations

import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography.fernet import Fernet, InvalidToken
from starlette.requests import Request
from starlette.responses import Response

from mgr_module import MgrModule

from .server import PEER

COOKIE: Final = "mgr_dashboard"
KEY: Final = "session-key"
"""Key under which the encryption key is stored."""
TICKET_S: Final = 60
"""A page may go on at another manager with a ticket that is at most this old."""
HOUR_S: Final = 3600
TOKEN_LONGEST: Final = 4096


@dataclass(frozen=True, slots=True)
class Session:
    """One browser's session; ``token`` is empty where nobody has to sign in."""

    token: str = ""
    csrf: str = field(default_factory=lambda: secrets.token_urlsafe(24))

    def is_csrf_token(self, text: str) -> bool:
        """Return whether a form was made for this session."""
        return hmac.compare_digest(self.csrf.encode(), text.encode())


class Sessions:
    """Opens and seals sessions, and identifies the caller of a request. Thread-safe."""

    def __init__(self, module: MgrModule) -> None:
        """Keep the key in the store of ``module``; made by the first active."""
        self._module = module
        self._sealed_with = ("", Fernet(Fernet.generate_key()))

    @property
    def required(self) -> bool:
        """Whether people have to sign in."""
        return self._module.identification_required()

    def session_of(self, request: Request) -> Session | None:
        """Return the session of a request; None if there is none, or it has ended."""
        hours = int(self._module.get_module_option("session_hours"))
        return self._open(request.cookies.get(COOKIE, ""), "session", hours * HOUR_S)

    def caller_of(self, request: Request, session: Session | None) -> dict[str, Any] | None:
        """Return who sent a request; None if they have to sign in first."""
        address = request.client.host if request.client else ""
        encrypted = request.url.scheme == "https"
        certificate = request.scope.get(PEER, b"")
        if certificate:
            found = self._module.identify(
                certificate=certificate, address=address, encrypted=encrypted
            )
            if found is not None:
                return found
        token = session.token if session is not None else ""
        return self._module.identify(token=token, address=address, encrypted=encrypted)

    def keep(self, response: Response, session: Session, *, tls: bool) -> None:
        """Have the browser keep ``session``."""
        response.set_cookie(
            COOKIE, self._seal(session, "session"), httponly=True, samesite="lax", secure=tls
        )

    def forget(self, response: Response, *, tls: bool) -> None:
        """Have the browser forget its session."""
        response.delete_cookie(COOKIE, httponly=True, samesite="lax", secure=tls)

    def ticket(self, session: Session) -> str:
        """Return a ticket with which the session goes on at another manager."""
        return self._seal(session, "ticket") if session.token else ""

    def session_in(self, ticket: str) -> Session | None:
        """Return the session that a ticket carries; None if it is invalid or too old."""
        return self._open(ticket, "ticket", TICKET_S)

    # -- inside ---------------------------------------------------------------------------------

    def _fernet(self) -> Fernet:
        key = self._module.get_store(KEY)
        if key is None:
            # Compared: two requests may come first at the same time.
            new = Fernet.generate_key().decode()
            self._module.compare_and_set_store(KEY, None, new)
            key = self._module.get_store(KEY) or new
        if self._sealed_with[0] != key:
            self._sealed_with = (key, Fernet(key.encode()))
        return self._sealed_with[1]

    def _seal(self, session: Session, purpose: str) -> str:
        content = {"for": purpose, "token": session.token, "csrf": session.csrf}
        return self._fernet().encrypt(json.dumps(content).encode()).decode()

    def _open(self, sealed: str, purpose: str, ttl_s: int) -> Session | None:
        if not sealed or len(sealed) > 2 * TOKEN_LONGEST:
            return None
        try:
            found: Mapping[str, str] = json.loads(
                self._fernet().decrypt(sealed.encode(), ttl=ttl_s)
            )
        except (InvalidToken, ValueError):
            return None
        return Session(found["token"], found["csrf"]) if found.get("for") == purpose else None

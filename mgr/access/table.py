"""The table that assigns capabilities to clients, and the check of a request against it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from mgr.access.caps import CHANGE_ACCESS, HEALTH, JOIN, AccessRequest, Caps, Subject
from mgr.access.identity import EVERYBODY, INTERNAL_CALLER, Caller, Identity, Kind
from mgr.access.protection import Protection, decode
from mgr.access.roles import BUILTIN_ROLES
from mgr.access.tokens import Tokens
from mgr.clock import CLOCK, wall_s
from mgr.errors import (
    InvalidArgumentError,
    MgrError,
    NotAuthenticatedError,
    NotAuthorizedError,
)
from mgr.log_throttle import LogThrottle
from mgr.store.api import ABSENT, Reader, Record
from mgr.store.keys import Keys

__all__ = ["EVERYBODY", "INTERNAL_CALLER", "Access", "Caller", "Rights", "stored_caps"]

ADMINISTRATOR: Final = "allow *"
CHANGES: Final = AccessRequest("auth caps", CHANGE_ACCESS)
"""The request that only an administrator may make."""
KNOWN_MAX: Final = 4096
"""Remembered results of checks; above it all are forgotten."""
BY_ARGUMENTS: Final = frozenset({JOIN, HEALTH})
"""Requests whose grants look at their arguments without a condition that says so."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Rights:
    """The capabilities that count for a caller.

    Attributes:
        identity: Which of its names they were given to; its first name for the entry ``*``.
        text: The capabilities as they were stored.

    """

    identity: Identity
    text: str
    caps: Caps


class Access:
    """Checks requests against the table. Any thread may call it.

    A client with a name may do what its entry allows, else what ``*`` allows, else nothing. A
    client without a name may do everything, unless the cluster demands authentication: then it may
    do nothing. A user of this host may do what its entry allows; without one it counts as a client
    without a name: neither ``*`` nor the kernel's word opens a protected cluster to every local
    user. A changed entry counts as soon as the mirror shows it.
    """

    def __init__(self, mirror: Reader, keys: Keys) -> None:
        """Read the table from ``mirror``."""
        self._mirror = mirror
        self._keys = keys
        self.tokens: Final = Tokens(mirror, keys)
        self._throttle = LogThrottle(CLOCK.now)
        # None: nothing is remembered, because nobody says when the table changes.
        self._known: _Known | None = None
        self.on_refusal: Callable[[Caller, AccessRequest], None] = lambda _caller, _request: None
        """Called with each refusal, on the thread that asked."""

    @property
    def protection(self) -> Protection | None:
        """The stored record whether authentication is demanded; None if there is none."""
        record = self._mirror.get(self._keys.protection)
        return None if record is None else decode(record.value)

    @property
    def required(self) -> bool:
        """Whether clients must authenticate: it is stored, or there are entries that would bind."""
        known = self._known
        if known is not None and known.required is not None:
            return known.required
        found = self.protection
        required = bool(self._mirror.list(self._keys.access)) if found is None else found.required
        if known is not None:
            known.required = required
        return required

    def forget(self, _changes: object = None) -> None:
        """Forget the results of checks: the table changes now. Called once, they are kept."""
        self._known = _Known()

    def check(self, caller: Caller, request: AccessRequest) -> bool:
        """Raise unless ``caller`` may do what ``request`` describes.

        Returns whether it may do so with any arguments, until the table changes.

        Raises:
            NotAuthenticatedError: It shows no certificate or token, or what it showed has ended.
            NotAuthorizedError: It may not; the message names the missing capability.

        """
        known = self._known
        key = (caller, request.command, request.perm, request.module)
        if known is not None and known.allowed.get(key) and not _expired(caller):
            return True
        error = self.refusal(caller, request)
        if error is not None:
            self._log_refusal(caller, request, error)
            self.on_refusal(caller, request)
            raise error
        if known is None:
            return False
        if (found := known.allowed.get(key)) is not None:
            return found
        found = request.command not in BY_ARGUMENTS and self.is_allowed(
            caller, AccessRequest(request.command, request.perm, request.module)
        )
        if len(known.allowed) >= KNOWN_MAX:
            known.allowed.clear()
        known.allowed[key] = found
        return found

    def note_unauthenticated(self, address: str, what: str) -> None:
        """Note that a client at ``address`` showed nothing valid when it asked for ``what``."""
        self.on_refusal(Caller.anonymous(address), AccessRequest(what, ""))

    def _log_refusal(self, caller: Caller, request: AccessRequest, error: MgrError) -> None:
        """Log a refusal. Of many of one client, few lines tell: the audit has each."""
        names = caller.identities
        client = names[0].entry if names else None
        if times := self._throttle.due((client or caller.address, request.command)):
            log.warning(
                "access denied",
                extra={
                    "client": client,
                    "address": caller.address,
                    "command": request.command,
                    "why": error.reason,
                    "times": times,
                },
            )

    def refusal(self, caller: Caller, request: AccessRequest) -> NotAuthorizedError | None:
        """Return what ``check`` would raise, without a line in the log; None: it is allowed."""
        if caller.kind is Kind.ANONYMOUS and not self.required:
            return None
        try:
            self.check_authenticated(caller)
        except NotAuthenticatedError as error:
            return error
        if self.is_allowed(caller, request):
            return None
        return NotAuthorizedError(
            f"access denied: {caller} may not do '{request.command}' (needs {request.perm}): see "
            "'mgrctl auth whoami'"
        )

    def check_authenticated(self, caller: Caller) -> None:
        """Raise unless ``caller`` is authenticated, or nobody needs to be.

        Raises:
            NotAuthenticatedError: It shows no certificate or token, or what it showed has ended.

        """
        if caller.kind is Kind.ANONYMOUS and self.required:
            raise NotAuthenticatedError(
                "this cluster demands a client certificate or a token: see docs/how-to/tls.md"
            )
        if ended := self._ended(caller):
            raise NotAuthenticatedError(ended)

    def is_allowed(self, caller: Caller, request: AccessRequest) -> bool:
        """Return whether ``caller`` may do what ``request`` describes."""
        if caller.kind is Kind.INTERNAL:
            return True
        if caller.kind is Kind.ANONYMOUS:
            return not self.required
        if self._ended(caller):
            return False
        if not request.perm:
            return True  # open to everybody who is authenticated
        rights = self.rights_of(caller)
        if rights is None and caller.kind is Kind.UID:
            return not self.required
        return rights is not None and rights.caps.allow(
            request, Subject(caller.address, rights.identity), self.role_caps
        )

    def is_admin(self, caller: Caller) -> bool:
        """Return whether ``caller`` may do everything."""
        return self.is_allowed(caller, AccessRequest("", "rwx"))

    def rights_of(self, caller: Caller) -> Rights | None:
        """Return the capabilities that count for a ``caller`` with a name; None: there are none."""
        named = [identity for identity in caller.identities if identity.valid]
        entries = [(identity.entry, identity) for identity in named]
        if caller.kind is not Kind.UID:
            entries += [(EVERYBODY, each) for each in caller.identities[:1]]
        for entry, identity in entries:
            record = self._mirror.get(self._keys.access_of(entry))
            if record is not None:
                return Rights(identity, record.value, _readable(entry, record.value))
        protection = self.protection
        if protection is None or self._mirror.list(self._keys.access):
            return None
        first = next((each for each in named if each.entry == protection.admin), None)
        if first is None:
            return None
        return Rights(first, ADMINISTRATOR, Caps.parse(ADMINISTRATOR))

    def has_administrator(self) -> bool:
        """Return whether some named client may change capabilities, from every address."""
        entries = dict(self.entries())
        if not entries:
            return self.protection is not None and bool(self.protection.admin)
        for entry, text in entries.items():
            if entry == EVERYBODY:
                continue
            try:
                identity = Identity.of_entry(entry)
            except InvalidArgumentError:
                continue
            # A user of the host of one manager does not count: its socket may not be configured.
            can_come = identity.kind not in {Kind.TOKEN, Kind.UID} or any(
                token.name == identity.name and token.expires_s > wall_s()
                for _, token in self.tokens.all()
                if identity.kind is Kind.TOKEN
            )
            subject = Subject("", identity)
            if can_come and _readable(entry, text).allow(CHANGES, subject, self.role_caps):
                return True
        return False

    def with_changes(self, changes: Mapping[str, str | None]) -> Access:
        """Return the table as it would be with ``changes``: etcd keys and values, None: deleted."""
        return Access(_Changed(self._mirror, changes), self._keys)

    def role_caps(self, name: str) -> Caps:
        """Return the capabilities of a role; an unknown one allows nothing."""
        text = BUILTIN_ROLES.get(name)
        if text is None:
            record = self._mirror.get(self._keys.role(name))
            text = "" if record is None else record.value
        return _readable(f"role {name}", text)

    def roles(self) -> dict[str, str]:
        """Return the capabilities of every role by name, the built-in ones first."""
        records = self._mirror.list(self._keys.roles)
        own = {key.removeprefix(self._keys.roles): each.value for key, each in records.items()}
        return {**BUILTIN_ROLES, **{k: v for k, v in own.items() if k not in BUILTIN_ROLES}}

    def entries(self) -> Iterator[tuple[str, str]]:
        """Yield each entry as a client's name and its capabilities, in the text that was stored."""
        for key, record in self._mirror.list(self._keys.access).items():
            yield key.removeprefix(self._keys.access), record.value

    def _ended(self, caller: Caller) -> str:
        """Return why the credentials of ``caller`` are not valid any more; empty if they are."""
        if _expired(caller):
            return f"the {'token' if caller.token_id else 'client certificate'} has expired"
        if caller.token_id and self.tokens.find(caller.token_id) is None:
            return "the token was removed"
        return ""


class _Known:
    """What the table is known to say until it changes. What was read before goes into the old one.

    Attributes:
        required: Whether clients must authenticate; None until somebody asks.
        allowed: Who may do what, whatever the arguments; False: it depends on them.

    """

    __slots__ = ("allowed", "required")

    def __init__(self) -> None:
        self.required: bool | None = None
        self.allowed: dict[tuple[Caller, str, str, str], bool] = {}


def _expired(caller: Caller) -> bool:
    return caller.expires_s is not None and caller.expires_s <= wall_s()


class _Changed:
    """A ``Reader`` that shows another one's records with some changes."""

    def __init__(self, mirror: Reader, changes: Mapping[str, str | None]) -> None:
        self._mirror = mirror
        self._changes = changes

    def get(self, key: str) -> Record | None:
        """See ``Reader``."""
        if key not in self._changes:
            return self._mirror.get(key)
        value = self._changes[key]
        return None if value is None else Record(key, value, ABSENT, ABSENT)

    def list(self, prefix: str) -> dict[str, Record]:
        """See ``Reader``."""
        keys = {*self._mirror.list(prefix), *(k for k in self._changes if k.startswith(prefix))}
        return {key: found for key in sorted(keys) if (found := self.get(key)) is not None}

    def age_s(self) -> float:
        """See ``Reader``."""
        return self._mirror.age_s()


def stored_caps(text: str) -> Caps:
    """Parse capabilities that are stored. Release 0.1.0 also stored a comma at the end.

    Raises:
        InvalidArgumentError: As raised by ``Caps.parse``.

    """
    return Caps.parse(text.rstrip(" ,;"))


@lru_cache(maxsize=1024)
def _readable(entry: str, text: str) -> Caps:
    # Cached also so that what cannot be read is logged once, and not for every request.
    try:
        return stored_caps(text)
    except InvalidArgumentError as error:
        # Written by another release or by hand. To be safe, it allows nothing.
        log.warning("unreadable capabilities", extra={"key": entry, "error": str(error)})
        return Caps()

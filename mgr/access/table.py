"""The table of capabilities, and the one question that everybody asks it."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from mgr.access.caps import AccessRequest, Caps
from mgr.errors import InvalidArgumentError, NotAuthorizedError
from mgr.store.api import Reader, Record
from mgr.store.keys import Keys

EVERYBODY: Final = "*"
"""Whose capabilities those have who are not in the table."""
CLIENT_NAME: Final = re.compile(r"[A-Za-z0-9@_.:-]{1,128}")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks.

    Attributes:
        name: Of the client's certificate; None: clients are not asked for one here.
        address: Its IP address.

    """

    name: str | None = None
    address: str = ""


INTERNAL_CALLER: Final = Caller()
"""The manager itself, and the modules in it."""


class Access:
    """Reads the table. From any thread; a change holds from the moment at which it is seen.

    Nobody is bound where clients need no certificate, and while the table is empty. From the
    first entry on, who is not in it has what ``*`` has, or nothing.
    """

    def __init__(self, mirror: Reader, keys: Keys) -> None:
        """Read what ``mirror`` shows."""
        self._mirror = mirror
        self._keys = keys

    def check(self, caller: Caller, request: AccessRequest) -> None:
        """Return if ``caller`` may do it.

        Raises:
            NotAuthorizedError: It may not. Says which capability is missing.

        """
        if not self.is_allowed(caller, request):
            log.warning(
                "access denied",
                extra={
                    "client": caller.name,
                    "address": caller.address,
                    "command": request.command,
                },
            )
            raise NotAuthorizedError(
                f"access denied: client '{caller.name}' may not do '{request.command}' "
                f"(needs {request.perm}): see 'mgrctl auth whoami'"
            )

    def is_allowed(self, caller: Caller, request: AccessRequest) -> bool:
        """Whether ``caller`` may do it."""
        if caller.name is None:
            return True
        caps = self.caps_of(caller.name)
        return caps is None or caps.allow(request, caller.address)

    def caps_of(self, client: str) -> Caps | None:
        """The capabilities of ``client``; None: all, since the table is empty."""
        for name in (client, EVERYBODY):
            record = self._mirror.get(self._keys.access_of(name))
            if record is not None:
                return _parse_record(record)
        return Caps() if self._mirror.list(self._keys.access) else None

    def entries(self) -> Iterator[tuple[str, str]]:
        """Each entry: client and capabilities as they were written."""
        for key, record in self._mirror.list(self._keys.access).items():
            yield key.removeprefix(self._keys.access), record.value


def valid_client_name(name: str) -> str:
    """``name``, if a client can be called so.

    Raises:
        InvalidArgumentError: It cannot.

    """
    if name != EVERYBODY and not CLIENT_NAME.fullmatch(name):
        raise InvalidArgumentError(
            f"client {name!r}: use 1 to 128 of A-Z a-z 0-9 @ _ . : - or '{EVERYBODY}'"
        )
    return name


def _parse_record(record: Record) -> Caps:
    try:
        return Caps.parse(record.value)
    except InvalidArgumentError as error:
        # Written by another release, or by hand: what cannot be read allows nothing.
        log.warning("unreadable capabilities", extra={"key": record.key, "error": str(error)})
        return Caps()

"""The table that assigns capabilities to clients, and the check of a request against it."""

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
"""The entry for clients that have no entry of their own."""
CLIENT_NAME: Final = re.compile(r"[A-Za-z0-9@_.:-]{1,128}")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Caller:
    """The client that sent a request.

    Attributes:
        name: The name in the client's certificate; None if clients need no certificate here.
        address: The client's IP address.

    """

    name: str | None = None
    address: str = ""


INTERNAL_CALLER: Final = Caller()
"""The caller of requests made by the manager itself and by its modules."""


class Access:
    """Checks requests against the table. Any thread may call it.

    Everything is allowed while the table is empty, and where clients need no certificate. As soon
    as there is one entry, a client without an entry has the capabilities of ``*``, or none. A
    changed entry counts as soon as the mirror shows it.
    """

    def __init__(self, mirror: Reader, keys: Keys) -> None:
        """Read the table from ``mirror``."""
        self._mirror = mirror
        self._keys = keys

    def check(self, caller: Caller, request: AccessRequest) -> None:
        """Raise unless ``caller`` may do what ``request`` describes.

        Raises:
            NotAuthorizedError: It may not; the message names the missing capability.

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
        """Return whether ``caller`` may do what ``request`` describes."""
        if caller.name is None:
            return True
        caps = self.caps_of(caller.name)
        return caps is None or caps.allow(request, caller.address)

    def caps_of(self, client: str) -> Caps | None:
        """Return the capabilities of ``client``; None if the table is empty: all is allowed."""
        for name in (client, EVERYBODY):
            record = self._mirror.get(self._keys.access_of(name))
            if record is not None:
                return _parse_record(record)
        return Caps() if self._mirror.list(self._keys.access) else None

    def entries(self) -> Iterator[tuple[str, str]]:
        """Yield each entry as a client's name and its capabilities, in the text that was stored."""
        for key, record in self._mirror.list(self._keys.access).items():
            yield key.removeprefix(self._keys.access), record.value


def stored_caps(text: str) -> Caps:
    """Parse capabilities that are stored. Release 0.1.0 also stored a comma at the end.

    Raises:
        InvalidArgumentError: As raised by ``Caps.parse``.

    """
    return Caps.parse(text.rstrip(" ,;"))


def valid_client_name(name: str) -> str:
    """Return ``name`` if it is a valid name of a client.

    Raises:
        InvalidArgumentError: It is not.

    """
    if name != EVERYBODY and not CLIENT_NAME.fullmatch(name):
        raise InvalidArgumentError(
            f"client {name!r}: use 1 to 128 of A-Z a-z 0-9 @ _ . : - or '{EVERYBODY}'"
        )
    return name


def _parse_record(record: Record) -> Caps:
    try:
        return stored_caps(record.value)
    except InvalidArgumentError as error:
        # Written by another release or by hand. To be safe, it allows nothing.
        log.warning("unreadable capabilities", extra={"key": record.key, "error": str(error)})
        return Caps()

"""Identities: the names of clients, and where each name comes from.

A certificate can have a common name and several alternative names, and a token has a name too. The
name ``ops`` in a common name, in a DNS name and of a token are three different identities, so an
entry of the table says which one it means (docs/adr/0052).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final

from mgr.errors import InvalidArgumentError


class Kind(StrEnum):
    """Where a caller's name comes from."""

    CN = "cn"
    """The common name of a client certificate."""
    URI = "uri"
    """A URI among its alternative names, such as a SPIFFE id."""
    DNS = "dns"
    """A DNS name among its alternative names."""
    TOKEN = "token"  # noqa: S105 - the word, not a secret
    """The name of a token."""
    UID = "uid"
    """The number of the user of this host that a program runs as, by the local socket."""
    ANONYMOUS = "anonymous"
    """A client without certificate and token."""
    INTERNAL = "internal"
    """The manager itself, or a module in it."""


NAMES: Final = {
    Kind.CN: re.compile(r"[A-Za-z0-9@_.:-]{1,128}"),
    Kind.URI: re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[A-Za-z0-9:/?#\[\]@!$&'()*+,;=._~%-]{1,500}"),
    Kind.DNS: re.compile(r"[a-z0-9*_.-]{1,253}"),
    Kind.TOKEN: re.compile(r"[A-Za-z0-9@_.:-]{1,128}"),
    Kind.UID: re.compile(r"0|[1-9][0-9]{0,9}"),
}
"""The names that an entry of the table can have, by kind. They become parts of etcd keys."""
NAMELESS: Final = "(nameless)"
"""Name of a client whose certificate has no name. No entry of the table can have this name."""
EVERYBODY: Final = "*"
"""The entry for authenticated clients that have no entry of their own."""


@dataclass(frozen=True, slots=True)
class Identity:
    """One name of a client, with its origin."""

    kind: Kind
    name: str

    @property
    def entry(self) -> str:
        """The name of its entry in the table: ``ops``, ``dns:db1.example``, ``uid:0``.

        A common name stands alone, unless it looks like another kind: ``cn:dns:db1.example``.
        """
        if self.kind is Kind.CN and not self.name.startswith(_PREFIXES):
            return self.name
        return f"{self.kind.value}:{self.name}"

    @property
    def valid(self) -> bool:
        """Whether an entry can have this name."""
        return NAMES[self.kind].fullmatch(self.name) is not None

    @staticmethod
    def of_entry(entry: str) -> Identity:
        """Parse the name of an entry.

        Raises:
            InvalidArgumentError: No client can have it; the message says what is allowed.

        """
        prefix, colon, rest = entry.partition(":")
        if colon and f"{prefix}:" in _PREFIXES:
            kind = Kind(prefix)
            found = Identity(kind, rest.lower() if kind is Kind.DNS else rest)
        else:
            found = Identity(Kind.CN, entry)
        if not found.valid:
            raise InvalidArgumentError(
                f"client {entry[:200]!r}: use the common name of a certificate (1 to 128 of A-Z "
                "a-z 0-9 @ _ . : -), 'dns:NAME', 'uri:URI', 'token:NAME' or 'uid:NUMBER', or "
                f"'{EVERYBODY}' for all others"
            )
        return found


_PREFIXES: Final = tuple(f"{kind.value}:" for kind in NAMES)


@dataclass(frozen=True, slots=True)
class Caller:
    """The client that sent a request.

    Attributes:
        name: Its first name: common name, URI, DNS name, the token's or the number of the user;
            None without one.
        address: Its IP address; empty if it is not known.
        kind: Where ``name`` comes from.
        others: Further names in its certificate. An entry for any of them counts.
        expires_s: When its certificate or token ends, as wall time since 1970; None: never.
        token_id: The id of the token with which it authenticated; empty without one.

    """

    name: str | None
    address: str = ""
    kind: Kind = Kind.CN
    others: tuple[Identity, ...] = ()
    expires_s: float | None = None
    token_id: str = ""

    def __post_init__(self) -> None:
        if (self.name is None) != (self.kind in {Kind.ANONYMOUS, Kind.INTERNAL}):
            raise AssertionError(f"a caller of kind {self.kind} and the name {self.name!r}")

    def __hash__(self) -> int:
        """Hash what tells most of them apart: results of checks are found by it."""
        return hash((self.name, self.address, self.token_id))

    @staticmethod
    @lru_cache(maxsize=4096)
    def anonymous(address: str = "") -> Caller:
        """Return the caller for a client that has neither certificate nor token.

        The same one each time: results of checks are found by it.
        """
        return Caller(None, address, Kind.ANONYMOUS)

    @property
    def identities(self) -> tuple[Identity, ...]:
        """All its names, in the order in which entries are looked up; none without a name."""
        if self.name is None:
            return ()
        return (Identity(self.kind, self.name), *self.others)

    def __str__(self) -> str:
        """Return it in words: ``client 'dns:db1'``, ``a client at 10.0.0.7``, ``the manager``."""
        if self.kind is Kind.INTERNAL:
            return "the manager"
        if self.kind is Kind.ANONYMOUS:
            return f"a client at {self.address or '?'}"
        return f"client '{self.identities[0].entry}'"


INTERNAL_CALLER: Final = Caller(None, "", Kind.INTERNAL)
"""The caller of requests made by the manager itself and by its modules."""

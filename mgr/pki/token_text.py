"""The text of a join token, as it is printed and passed on."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field

from mgr.errors import InvalidArgumentError


@dataclass(frozen=True, slots=True)
class TokenText:
    """The three parts of a token: ``<id>.<secret>.<pin>``. The secret is not in its ``repr``.

    Attributes:
        pin: SHA-256 of the public key of the cluster's CA: whoever joins sends the secret only to
            a server with a certificate of that CA.

    """

    id: str
    secret: str = field(repr=False)
    pin: str

    def __str__(self) -> str:
        return f"{self.id}.{self.secret}.{self.pin}"

    @classmethod
    def parse(cls, text: str) -> TokenText:
        """Parse a token.

        Raises:
            InvalidArgumentError: It has another form; the message does not show it.

        """
        found = re.fullmatch(r"([0-9a-f]{16})\.([A-Za-z0-9_-]{43})\.([0-9a-f]{64})", text.strip())
        if found is None:
            raise InvalidArgumentError("this is no join token: it has the form ID.SECRET.PIN")
        return cls(*found.groups())


def hash_of(secret: str) -> str:
    """Return the SHA-256 of ``secret`` in hexadecimal."""
    return hashlib.sha256(secret.encode()).hexdigest()

"""Fake people for tests of modules that act on behalf of somebody: tokens, rights, commands."""

from __future__ import annotations

import errno
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

LOOPBACK: Final = "127.0.0.1"
Result = tuple[int, str, str]


class FakePeople:
    """Who there is, what each may do, and the commands that were run for them.

    Attributes:
        tokens: The callers by token; empty: nobody has to identify themselves. ``may`` of one is
            the set of commands that it may run; without it, all.
        known_commands: The commands that there are; None: any.
        ran: The commands that were run: caller, words and input.

    """

    def __init__(self) -> None:
        """Begin with nobody who has to identify themselves."""
        self.tokens: dict[str, dict[str, Any]] = {}
        self.known_commands: frozenset[str] | None = None
        self.ran: list[tuple[dict[str, Any], list[str], str]] = []

    def identify(
        self, token: str, certificate: bytes, address: str, *, encrypted: bool
    ) -> dict[str, Any] | None:
        """Return the person whose token, or certificate as text, a test has set.

        A token is accepted in plaintext from this host only, as in a manager.
        """
        if token and not encrypted and address != LOOPBACK:
            return None
        if not self.tokens:
            return {"name": None, "address": address}
        person = self.tokens.get(token or certificate.decode())
        return None if person is None else {**person, "address": address}

    def permitted(self, caller: Mapping[str, Any], prefixes: Collection[str]) -> set[str]:
        """Return the commands that exist and that the caller may run."""
        may, known = caller.get("may"), self.known_commands
        return {
            prefix
            for prefix in prefixes
            if (may is None or prefix in may) and (known is None or prefix in known)
        }

    def run(
        self,
        caller: Mapping[str, Any],
        words: Sequence[str],
        inbuf: str,
        answers: Mapping[str, Result],
    ) -> Result | None:
        """Record a command; return the answer to the longest prefix of its words, if there is one.

        It is refused, and not recorded, if the caller may not run it.
        """
        prefixes = [" ".join(words[:count]) for count in range(len(words), 0, -1)]
        may = caller.get("may")
        if may is not None and may.isdisjoint(prefixes):
            return -errno.EACCES, "", f"access denied: '{' '.join(words)}'"
        self.ran.append((dict(caller), list(words), inbuf))
        return next((answers[each] for each in prefixes if each in answers), None)

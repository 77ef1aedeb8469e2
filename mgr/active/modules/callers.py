"""Runs commands for modules on behalf of people, with the rights of those people.

A module that serves a page identifies who opened it and has the manager check each command, as if
that person had sent it. The module decides nothing about permissions.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from mgr.access.authenticator import Authenticator, Peer
from mgr.access.caps import AccessRequest
from mgr.access.table import Access, Caller
from mgr.command.dispatch import Request
from mgr.command.registry import BUILTIN, Registry
from mgr.errors import NotAuthenticatedError


class Callers:
    """Identifies callers and asks for their permissions. Any thread may call it."""

    def __init__(self, access: Access, registry: Registry) -> None:
        """Ask ``access`` for identities and permissions, ``registry`` for what a command needs."""
        self._access = access
        self._registry = registry
        # A module that verifies certificates has set that up itself, with the CA of its page.
        self._authenticator = Authenticator(access.tokens, certificates=True)

    @property
    def required(self) -> bool:
        """Whether the cluster demands that clients authenticate."""
        return self._access.required

    def identify(
        self, token: str, certificate: bytes, address: str, *, encrypted: bool
    ) -> dict[str, Any] | None:
        """See ``mgr.module_api.context``."""
        authorization = f"Bearer {token}" if token else ""
        try:
            caller = self._authenticator.identify(
                Peer(address, certificate, authorization, encrypted)
            )
            self._access.check_authenticated(caller)
        except NotAuthenticatedError:
            self._access.note_unauthenticated(address, "module page")
            return None
        found: dict[str, Any] = msgspec.to_builtins(caller)
        return found

    def permitted(self, caller: Mapping[str, Any], prefixes: Collection[str]) -> set[str]:
        """See ``mgr.module_api.context``."""
        who = _caller(caller)
        wanted = set(prefixes)
        return {
            command.prefix
            for command in self._registry.all()
            if command.prefix in wanted
            and self._access.is_allowed(
                who,
                AccessRequest(
                    command.prefix,
                    command.perm,
                    "" if command.module == BUILTIN else command.module,
                ),
            )
        }

    def request(
        self, caller: Mapping[str, Any], words: Sequence[str], inbuf: str, deadline_s: float
    ) -> Request:
        """Return the command that ``caller`` typed."""
        return Request(
            words=list(words),
            input=inbuf.encode(),
            deadline_s=deadline_s,
            caller=_caller(caller),
        )


def _caller(fields: Mapping[str, Any]) -> Caller:
    return msgspec.convert(dict(fields), Caller)

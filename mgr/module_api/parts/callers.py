"""Lets a module that serves people act with their rights, and not with its own.

Ours, not ceph-mgr's.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from mgr.module_api.declared import ActiveModuleBase
from mgr.module_api.result import HandleCommandResult

CallerT = dict[str, Any]
"""Who acts: at least ``name`` (None where clients need not identify themselves)."""


class CallersMixin(ActiveModuleBase):
    """Identifies people and runs commands on their behalf. The manager checks each command."""

    def identification_required(self) -> bool:
        """Return whether this cluster demands that its clients identify themselves."""
        return self._context.identification_required()

    def identify(
        self, *, token: str = "", certificate: bytes = b"", address: str, encrypted: bool
    ) -> CallerT | None:
        """Return the caller that a token, or a verified certificate (DER), names; None if invalid.

        With neither it is an anonymous one, or None if the cluster demands more. A token is
        accepted over an encrypted connection only, or from an ``address`` of this host.
        """
        return self._context.identify(token, certificate, address, encrypted=encrypted)

    def permitted(self, caller: Mapping[str, Any], prefixes: Collection[str]) -> set[str]:
        """Return those commands of ``prefixes`` that ``caller`` may run, if without arguments."""
        return self._context.permitted(caller, prefixes)

    def run_as(
        self, caller: Mapping[str, Any], words: Sequence[str], inbuf: str = ""
    ) -> HandleCommandResult:
        """Run a command of the manager or a module as ``caller`` typed it, and wait.

        The result is ``-EACCES`` if the caller may not run it.
        """
        return HandleCommandResult(*self._context.run_as(caller, words, inbuf))

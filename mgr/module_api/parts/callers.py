"""Lets a module that serves people act with their rights: a page, not the manager, is the caller.

Ours, not ceph-mgr's.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from mgr.module_api.declared import ActiveModuleBase
from mgr.module_api.result import HandleCommandResult

CallerT = dict[str, Any]
"""Who acts: ``name`` (None where clients need not identify) and ``address``, at least."""


class CallersMixin(ActiveModuleBase):
    """Identifies people and runs commands on their behalf. The manager checks each command."""

    def identification_required(self) -> bool:
        """Return whether this cluster demands that its clients identify themselves."""
        return self._context.identification_required()

    def identify(
        self, *, token: str = "", certificate: bytes = b"", address: str = ""
    ) -> CallerT | None:
        """Return the caller that a token or a certificate (DER) names; None if it names nobody.

        With neither, the caller is nobody in particular, if the cluster demands no more.
        """
        return self._context.identify(token, certificate, address)

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

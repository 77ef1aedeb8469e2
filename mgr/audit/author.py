"""The name of a caller in the audit, in logs and in the history of leadership."""

from __future__ import annotations

from mgr.access.identity import Caller, Kind


def author_of(caller: Caller) -> str:
    """Return ``client.ENTRY``, or ``client@ADDRESS`` for a client that shows no name.

    Empty for the manager itself and its modules.
    """
    if caller.kind is Kind.INTERNAL:
        return ""
    if caller.kind is Kind.ANONYMOUS:
        return f"client@{caller.address or '?'}"
    return f"client.{caller.identities[0].entry}"


def kind_of(caller: Caller) -> str:
    """Return where the name of ``caller`` comes from, such as ``cn`` or ``token``."""
    return caller.kind.value

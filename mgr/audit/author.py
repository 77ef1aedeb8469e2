"""The name of a caller in the audit, in logs and in the history of leadership."""

from __future__ import annotations

from mgr.access.table import Caller


def author_of(caller: Caller) -> str:
    """Return ``client.NAME``, or ``client@ADDRESS`` where clients need no certificate.

    Empty for the manager itself and its modules.
    """
    if caller.name is not None:
        return f"client.{caller.name}"
    return f"client@{caller.address}" if caller.address else ""

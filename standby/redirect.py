"""What a standby says to whoever takes it for the active: always a refusal, always current."""

from __future__ import annotations

from mgr.errors import NotActiveError
from mgr.host.cluster_view import ClusterView, not_active_error


def refusal(view: ClusterView, own_name: str) -> NotActiveError:
    """The error for a caller, naming the active if one is known and it is another manager.

    A view older than the lease names nobody: a redirect to a manager that may be dead and
    replaced is a lie. Neither does one that still names this manager itself, whose last worker
    led a moment ago.
    """
    return not_active_error(view.leader(), own_name)

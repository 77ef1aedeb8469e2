"""The role of a worker that is no standby yet: its HTTP port is open and says why.

The port opens before etcd has answered and before modules are imported. What starts and watches
processes (systemd, Kubernetes) then sees a live process that is not ready, and does not kill it
for an etcd that is away.
"""

from __future__ import annotations

import math
from typing import Any, Final, NoReturn

from mgr.errors import NotActiveError
from mgr.host.role import Role
from mgr.store.mirror import Mirror

NO_ANSWER: Final = "etcd has not answered since this worker started; the log has the reason"
IMPORTING: Final = "modules are being imported"


class StartingRole:
    """Implements ``mgr.host.role.Role`` for a worker that is no standby yet."""

    state: Final = "joining"
    log: Final = None
    fleet: Final = None
    maps: Final = None
    audit: Final = None
    issuer: Final = None

    async def execute(self, request: Any) -> NoReturn:  # noqa: ARG002 - whatever it is
        """Refuse.

        Raises:
            NotActiveError: Always.

        """
        raise NotActiveError(None)

    def describe(self) -> NoReturn:
        """Refuse, as ``execute`` does."""
        raise NotActiveError(None)

    async def fail(self, name: str, successor: str, caller: Any = None) -> NoReturn:  # noqa: ARG002 - whoever it were
        """Refuse, as ``execute`` does."""
        raise NotActiveError(None)


class Starting:
    """What is shown until the worker is a standby.

    Attributes:
        role: The role of this worker now; ``StartingRole`` at first.

    """

    def __init__(self, mirror: Mirror) -> None:
        """Begin before the first listing of ``mirror``."""
        self._first: Role = StartingRole()
        self.role: Role = self._first
        self._mirror = mirror

    def why_not_ready(self) -> str:
        """Return why this worker is no standby yet; empty once it is."""
        if self.role is not self._first:
            return ""
        return IMPORTING if math.isfinite(self._mirror.age_s()) else NO_ANSWER

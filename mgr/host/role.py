"""The interface that the manager's servers call, implemented by the active and standby roles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from mgr.access.table import INTERNAL_CALLER, Caller
from mgr.audit.trail import AuditTrail
from mgr.cluster.fleet import Fleet
from mgr.cluster.log import ClusterLog
from mgr.cluster.maps import Maps
from mgr.command.dispatch import Answer, Request
from mgr.command.registry import Command
from mgr.pki.issuer import CertificateIssuer


class Role(Protocol):
    """The current role of this worker. Do not keep a reference: it is replaced on promotion."""

    @property
    def state(self) -> str:
        """``standby``, ``starting``, ``active``, ``suspended`` or ``draining``."""
        ...

    @property
    def log(self) -> ClusterLog | None:
        """The cluster log; None on a standby, which does not have it."""
        ...

    @property
    def audit(self) -> AuditTrail | None:
        """The audit; None on a standby, where nothing can be changed."""
        ...

    @property
    def maps(self) -> Maps | None:
        """The maps; None on a standby, whose copy may be out of date."""
        ...

    @property
    def fleet(self) -> Fleet | None:
        """The daemons; None on a standby, because daemons report to the active only."""
        ...

    @property
    def issuer(self) -> CertificateIssuer | None:
        """Signs certificates; None on a standby, because a join token is used by one write."""
        ...

    async def execute(self, request: Request) -> Answer:
        """Run one command.

        Raises:
            NotActiveError: Nothing ran; the error names the active if it is known.
            TermLostError: The term ended while it ran; it may have run in part.
            MgrError: See ``mgr.command.dispatch``.

        """
        ...

    def describe(self) -> tuple[Sequence[Command], str]:
        """Return every command, and a tag that changes when the commands change.

        Raises:
            NotActiveError: This manager is a standby and does not know the commands.

        """
        ...

    async def fail(self, name: str, successor: str, caller: Caller = INTERNAL_CALLER) -> str:
        """Give up leadership, to ``successor`` if it is not empty; return a text for the operator.

        ``caller`` requests it.

        Raises:
            NotActiveError: This manager is a standby, and ``name`` is empty or another manager.
            NotFoundError: ``name`` is not the active, or ``successor`` is not a warm standby.

        """
        ...

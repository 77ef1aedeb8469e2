"""What the manager's servers ask, whichever part it plays. Implemented by active and standby."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from mgr.cluster.fleet import Fleet
from mgr.cluster.log import ClusterLog
from mgr.cluster.maps import Maps
from mgr.command.dispatch import Answer, Request
from mgr.command.registry import Command


class Role(Protocol):
    """The part this worker plays now. Ask for it anew at each call: it changes on promotion."""

    @property
    def state(self) -> str:
        """``standby``, ``starting``, ``active``, ``suspended`` or ``draining``."""
        ...

    @property
    def log(self) -> ClusterLog | None:
        """The cluster log; None on a standby, which has none to show."""
        ...

    @property
    def maps(self) -> Maps | None:
        """The maps; None on a standby, whose copy nobody is to act on."""
        ...

    @property
    def fleet(self) -> Fleet | None:
        """The daemons; None on a standby, to which none reports."""
        ...

    async def execute(self, request: Request) -> Answer:
        """Run one command.

        Raises:
            NotActiveError: Nothing ran; the error names whom to ask.
            TermLostError: The term ended under way; it may have run in part.
            MgrError: See ``mgr.command.dispatch``.

        """
        ...

    def describe(self) -> tuple[Sequence[Command], str]:
        """Every command there is and a tag that changes with them.

        Raises:
            NotActiveError: Only the active knows.

        """
        ...

    async def fail(self, name: str, successor: str) -> str:
        """Give up the office, to ``successor`` if named; a sentence for the operator.

        Raises:
            NotActiveError: ``name``, or nobody in particular, was asked of a standby.
            NotFoundError: ``name`` is not the active, or ``successor`` is no warm standby.

        """
        ...

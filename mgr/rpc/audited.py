"""Makes the change of a call together with its audit record: both in one transaction."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from mgr.access.identity import Caller
from mgr.audit.trail import AuditTrail
from mgr.errors import AuditUnavailableError, OutcomeUnknownError
from mgr.store.api import Operation

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")


class Change(Protocol[T_co]):
    """Makes a change, and writes ``along`` in the same transaction."""

    def __call__(self, *, along: Sequence[Operation]) -> Awaitable[T_co]:
        """Make it. If it turns out that nothing is to be changed, ``along`` is not written."""
        ...


@dataclass(frozen=True, slots=True)
class AuditedChange:
    """The change that one call requests. Without an audit, on a standby, it is refused anyway."""

    audit: AuditTrail | None
    caller: Caller
    command: str
    arguments: Mapping[str, Any]

    async def __call__(self, change: Change[T]) -> T:
        """Make ``change``; return once its record is kept.

        Raises:
            AuditUnavailableError: A required audit sink does not keep records. Nothing was changed.
            OutcomeUnknownError: It was changed, and a required sink did not keep the record.

        """
        audit = self.audit
        if audit is None:
            return await change(along=())
        audit.sinks.check()
        entry = audit.begin(self.caller, self.command, self.arguments)
        result = await change(along=(entry.complete(),))
        try:
            await audit.deliver(entry)
        except AuditUnavailableError as error:
            raise OutcomeUnknownError(
                f"'{self.command}' was done and is not acknowledged: {error}"
            ) from None
        return result

"""A request on its way through the dispatcher, and the attempt that its callers share."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mgr import tracing
from mgr.access.caps import AccessRequest
from mgr.command.answer import Answer
from mgr.command.registry import Command
from mgr.command.request import Request


class Job(NamedTuple):
    """A request after validation: everything needed to run its command.

    Attributes:
        access: What is asked again when it begins: its caller may have lost the capability.

    """

    command: Command
    arguments: dict[str, Any]
    inbuf: str
    deadline_s: float
    request: Request
    arrived_s: float
    access: AccessRequest

    def age_s(self, now_s: float) -> float:
        """Seconds since the client first sent it: its age on arrival plus the time spent here."""
        return self.request.age_s + now_s - self.arrived_s

    def span(self, term: int) -> AbstractContextManager[tracing.Span]:
        """Return the span of the command in ``term``, named by its prefix.

        Its words and arguments may be secret.
        """
        attributes: tracing.Attributes = {
            "mgr.module": self.command.module,
            "mgr.term": term,
            "mgr.request_id": self.request.request_id,
        }
        return tracing.span(self.command.prefix, tracing.Kind.SERVER, attributes)


@dataclass(eq=False, slots=True)
class Attempt:
    """One attempt to run a mutating command with a request id. All callers with this id share it.

    It is created before admission. So a second caller waits along with the first one, and is not
    refused ("nothing ran") while the first one is queued and may still run.

    Attributes:
        digest: The digest that a second caller's request must have.
        callers: Number of callers that wait. At 0 an attempt that has not begun is dropped.
        has_begun: Its start is being recorded, or is recorded.
        unclear_term: The term of an earlier attempt that may have run; None if there is none.

    """

    digest: str
    unclear_term: int | None
    callers: int = 0
    has_begun: bool = False
    task: asyncio.Task[Answer | Exception] = field(init=False)

    @property
    def never_ran(self) -> bool:
        """Whether nothing ran, and nothing will once the only caller stops waiting."""
        return self.callers == 1 and not self.has_begun and self.unclear_term is None

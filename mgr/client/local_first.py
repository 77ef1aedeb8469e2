"""Runs commands over the local socket first; whatever that cannot do goes on over gRPC.

The manager of this host answers most commands where it leads, at a third of what gRPC costs. Where
it does not lead, or goes away, the same request goes on with the same id to the manager that leads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mgr.client.attempt import UNKNOWN_OUTCOME_ERRORS, Attempts
from mgr.client.local_socket import LocalSocket, NoAnswerError, Superseded
from mgr.client.messages import Answer, answer_in
from mgr.client.retry import Failure, classify_failure
from mgr.clock import Clock
from mgr.errors import MgrError, NotActiveError

Elsewhere = Callable[[Attempts, Mapping[str, str], NotActiveError | None, float], Answer]
"""Continues a command over gRPC. Takes its attempts; by address, how those ended that may have run;
the refusal, which may name the active; and the seconds that are left."""


class LocalFirst:
    """Sends a command to the local socket, then over gRPC if that manager does not lead."""

    def __init__(
        self, path: str, elsewhere: Elsewhere, superseded: Superseded, clock: Clock
    ) -> None:
        """Use the socket at ``path``, then ``elsewhere``."""
        self.socket = LocalSocket(path, clock=clock)
        self._elsewhere = elsewhere
        self._superseded = superseded
        self._clock = clock

    def execute(self, attempts: Attempts, *, timeout_s: float) -> Answer:
        """Run one command; guarantees and errors are those of ``AsyncClient.execute``."""
        begun_s = self._clock.now()
        refusal: NotActiveError | None = None
        earlier: dict[str, str] = {}
        try:
            return answer_in(
                self.socket.execute(
                    attempts.next(), timeout_s=timeout_s, superseded=self._superseded
                )
            )
        except NoAnswerError as failed:
            error, from_manager = failed.error, False
        except MgrError as refused:
            error, from_manager = refused, True
        match classify_failure(error, from_manager=from_manager):
            case Failure.FINAL:
                raise error
            case Failure.UNCLEAR:
                earlier[self.socket.path] = str(error)
            case Failure.RETRY_ELSEWHERE:
                refusal = error if isinstance(error, NotActiveError) else None
        left_s = begun_s + timeout_s - self._clock.now()
        if left_s <= 0 and isinstance(error, UNKNOWN_OUTCOME_ERRORS):
            raise error
        return self._elsewhere(attempts, earlier, refusal, max(left_s, 0.0))

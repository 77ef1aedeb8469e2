"""Errors of orchestrators. Each survives being copied from one module to another."""

from __future__ import annotations

import errno as numbers


class OrchestratorError(Exception):
    """An orchestrator cannot do what it was asked; ``errno`` is negative, as in an answer."""

    def __init__(self, msg: str = "", errno: int = -numbers.EINVAL) -> None:
        super().__init__(msg)
        self.errno = errno

    def __reduce__(self) -> tuple[type[OrchestratorError], tuple[str, int]]:
        return type(self), (str(self), self.errno)


class NoOrchestrator(OrchestratorError):  # noqa: N818 - Ceph's name
    """No back end is set."""

    def __init__(
        self,
        msg: str = "No orchestrator configured (try `orch set backend`)",
        errno: int = -numbers.ENOENT,
    ) -> None:
        super().__init__(msg, errno)


class OrchestratorNotRunningError(OrchestratorError):
    """The back end that is set does not run now; nothing was done."""

    def __init__(self, msg: str = "", errno: int = -numbers.EAGAIN) -> None:
        super().__init__(msg, errno)


class OrchestratorValidationError(OrchestratorError):
    """A specification or an argument is invalid; nothing was changed."""

"""Every error of the product: what it means, its errno, what the caller can do.

One class for each thing the *caller* can do something about. ``mgr/rpc/status.py`` says
how each leaves the process over gRPC; nothing else translates them.
"""

from __future__ import annotations

import errno as _errno
from collections.abc import Mapping
from typing import ClassVar, Final


class MgrError(Exception):
    """Root of the family; never raised itself."""

    errno: ClassVar[int] = _errno.EIO
    reason: ClassVar[str] = "INTERNAL"
    """``ErrorInfo.reason`` on the wire: constant, upper case, documented in docs/reference."""


class InternalError(MgrError):
    """A manager failed in a way nobody foresaw; its log says more. Whether it ran is unknown."""


# -- who leads ------------------------------------------------------------------------------


class NotActiveError(MgrError):
    """Asked the wrong manager: another one leads, or none does yet. Nothing ran."""

    errno = _errno.EAGAIN
    reason = "NOT_ACTIVE"

    def __init__(
        self,
        active_address: str | None,
        *,
        active_name: str = "",
        term: int = 0,
        age_s: float = 0.0,
    ) -> None:
        """Remember whom to ask instead; ``None`` while nobody leads.

        ``age_s`` seconds ago it was certain that this one leads: of two hints the one of the
        higher term is right, and of one term the younger.
        """
        self.active_address = active_address
        self.active_name = active_name
        self.term = term
        self.age_s = age_s
        where = f"ask {active_address}" if active_address else "nobody leads yet: retry"
        super().__init__(f"this manager is not active; {where}")


class UnreachableError(MgrError):
    """No manager answered, or none leads. Nothing ran. Raised by clients only."""

    errno = _errno.EHOSTUNREACH
    reason = "UNREACHABLE"

    def __init__(self, message: str, *, failures: Mapping[str, str] | None = None) -> None:
        """Say what was hoped for; ``failures`` holds, for each address, why it was no help."""
        self.failures = dict(failures or {})
        reasons = "; ".join(f"{address}: {why}" for address, why in self.failures.items())
        super().__init__(f"{message} ({reasons})" if reasons else message)


class TermLostError(MgrError):
    """The office was lost while the command ran: it may have run in part. Not retried blindly."""

    errno = _errno.ECONNABORTED
    reason = "TERM_LOST"


class FencedError(TermLostError):
    """A write was refused because a newer leader exists. Retrying cannot help."""

    errno = _errno.ESTALE
    reason = "FENCED"

    def __init__(self, key: str, *, term: int) -> None:
        """Name the key left unwritten and the term that is over."""
        self.key = key
        self.term = term
        super().__init__(f"term {term} is over: {key!r} was left as it is")


class MayHaveRunError(TermLostError):
    """An earlier attempt of this request ran, or may have run, at least in part."""

    reason = "MAY_HAVE_RUN"

    def __init__(self, request_id: str, *, term: int, why: str = "", ran: bool = False) -> None:
        """Name the request and the term in which it began; 0 if that is not known.

        ``why`` says why there is no result, if not because that term is over. With ``ran`` it is
        known to have run to its end.
        """
        self.term = term
        when = f" in term {term}" if term else ""
        did = f"ran{when}" if ran else f"may have run in part{when}"
        reason = f" ({why})" if why else ""
        super().__init__(
            f"request {request_id} {did}: look at what it did before you repeat it{reason}"
        )


class NameTakenError(MgrError):
    """Another live manager of this cluster has the same id."""

    errno = _errno.EEXIST
    reason = "NAME_TAKEN"


class NotEligibleError(MgrError):
    """This manager may not lead: etcd too old, wrong cluster, revision went backwards."""

    errno = _errno.EPERM
    reason = "NOT_ELIGIBLE"


# -- the store ------------------------------------------------------------------------------


class StoreError(MgrError):
    """Root of what etcd can answer."""

    reason = "STORE"


class StoreUnavailableError(StoreError):
    """The store did not answer in time. For a read: nothing is known. Retry."""

    errno = _errno.EAGAIN
    reason = "STORE_UNAVAILABLE"


class OutcomeUnknownError(StoreUnavailableError):
    """A write was sent and no answer came: it may have been done. Read before you repeat it."""

    errno = _errno.ETIMEDOUT
    reason = "OUTCOME_UNKNOWN"


class LeaseExpiredError(StoreError):
    """The lease is gone, and with it every key that hung on it."""

    errno = _errno.ESTALE
    reason = "LEASE_EXPIRED"


class AccessDeniedError(StoreError):
    """Etcd refused the credentials or the key range. An operator must act."""

    errno = _errno.EACCES
    reason = "ACCESS_DENIED"


class StoreFullError(StoreError):
    """Etcd is out of space: it takes no writes until an operator compacts or raises its quota."""

    errno = _errno.ENOSPC
    reason = "STORE_FULL"


class ConflictError(StoreError):
    """Somebody changed what the write expected. Read again, then decide."""

    errno = _errno.EBUSY
    reason = "CONFLICT"


# -- what a caller can get wrong ----------------------------------------------------------------


class InvalidArgumentError(MgrError):
    """A value that cannot be meant: wrong type, out of range, malformed. Nothing changed."""

    errno = _errno.EINVAL
    reason = "INVALID_ARGUMENT"


class InvalidSettingError(InvalidArgumentError):
    """A setting of ``mgrd`` or ``mgrctl`` is wrong or contradicts another one."""

    reason = "INVALID_SETTING"


class CannotListenError(InvalidSettingError):
    """A port is taken, or the address is not this host's. The message names the setting."""

    errno = _errno.EADDRINUSE
    reason = "CANNOT_LISTEN"


class InvalidKeyError(InvalidArgumentError):
    """A key with a NUL, not encodable as UTF-8, or empty."""

    reason = "INVALID_KEY"


class TooLargeError(InvalidArgumentError):
    """A value above the limit. Nothing was sent."""

    errno = _errno.EFBIG
    reason = "TOO_LARGE"


class UnknownCommandError(InvalidArgumentError):
    """No command has these words; the message names the closest ones."""

    reason = "UNKNOWN_COMMAND"


class NotFoundError(MgrError):
    """The named thing does not exist."""

    errno = _errno.ENOENT
    reason = "NOT_FOUND"


class NotAuthorizedError(MgrError):
    """The client's certificate does not have the capability. Nothing ran."""

    errno = _errno.EACCES
    reason = "NOT_AUTHORIZED"


class NotPermittedError(MgrError):
    """Refused by a rule of the product, not for want of credentials."""

    errno = _errno.EPERM
    reason = "NOT_PERMITTED"


# -- daemons that report ------------------------------------------------------------------------


class ReportRefusedError(MgrError):
    """A daemon said what cannot be; its stream ends. The same again is refused again."""

    errno = _errno.EINVAL
    reason = "REPORT_REFUSED"

    def __init__(self, rule: str, message: str) -> None:
        """Name the ``rule`` in a word, for metrics, and say what was wrong."""
        self.rule = rule
        super().__init__(message)


class ReportLimitError(ReportRefusedError):
    """A daemon reports more, or more often, than it may; its stream ends."""

    errno = _errno.EFBIG
    reason = "REPORT_LIMIT"


class ReplacedError(MgrError):
    """Another program joined under this daemon's name: the newer one stays."""

    errno = _errno.EEXIST
    reason = "REPLACED"


# -- modules ----------------------------------------------------------------------------------


class ModuleNotEnabledError(MgrError):
    """The command belongs to a module that is not enabled."""

    errno = _errno.EOPNOTSUPP
    reason = "MODULE_NOT_ENABLED"


class ModuleNotReadyError(MgrError):
    """The module is enabled and did not finish starting in time. Nothing ran."""

    errno = _errno.ETIMEDOUT
    reason = "MODULE_NOT_READY"


class ModuleFailedError(MgrError):
    """The module failed to load, to construct or to serve."""

    errno = _errno.EIO
    reason = "MODULE_FAILED"


class OverloadedError(MgrError):
    """A queue is full. Nothing ran; retry later."""

    errno = _errno.EBUSY
    reason = "OVERLOADED"


class DeadlineExceededError(MgrError):
    """The caller's time ran out. A command that had begun goes on: its outcome is unknown."""

    errno = _errno.ETIMEDOUT
    reason = "DEADLINE_EXCEEDED"


NOTHING_RAN: Final = (
    NotActiveError,
    ModuleNotEnabledError,
    ModuleNotReadyError,
    ModuleFailedError,
    OverloadedError,
)
"""With one of these a command is refused before it began: asking again is safe."""

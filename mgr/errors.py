"""Every error of the product: its meaning, its errno, and what the caller can do.

There is one class for each case in which the *caller* acts differently. ``mgr/rpc/status.py``
translates each to gRPC; nothing else translates them.
"""

from __future__ import annotations

import errno as _errno
from collections.abc import Mapping
from typing import ClassVar, Final


class MgrError(Exception):
    """Base class of every error of the product; never raised itself."""

    errno: ClassVar[int] = _errno.EIO
    reason: ClassVar[str] = "INTERNAL"
    """``ErrorInfo.reason`` on the wire: constant, upper case, documented in docs/reference."""


class InternalError(MgrError):
    """An unexpected failure of a manager; see its log. Whether the command ran is unknown."""


# -- leadership -----------------------------------------------------------------------------


class NotActiveError(MgrError):
    """This manager is not the active: another one leads, or none does yet. Nothing ran."""

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
        """Name the address of the active; ``None`` while there is none.

        ``age_s`` is how long ago, in seconds, it was certain that this manager leads. Of two hints
        the one of the higher term is right; of the same term, the younger one.
        """
        self.active_address = active_address
        self.active_name = active_name
        self.term = term
        self.age_s = age_s
        where = f"ask {active_address}" if active_address else "nobody leads yet: retry"
        super().__init__(f"this manager is not active; {where}")


class UnreachableError(MgrError):
    """No manager answered, or none leads. Nothing ran. Raised by who asks a manager."""

    errno = _errno.EHOSTUNREACH
    reason = "UNREACHABLE"

    def __init__(self, message: str, *, failures: Mapping[str, str] | None = None) -> None:
        """Take a message and, for each address that was tried, the reason of its failure."""
        self.failures = dict(failures or {})
        reasons = "; ".join(f"{address}: {why}" for address, why in self.failures.items())
        super().__init__(f"{message} ({reasons})" if reasons else message)


class TermLostError(MgrError):
    """Leadership was lost while the command ran: it may have run in part. Check before a retry."""

    errno = _errno.ECONNABORTED
    reason = "TERM_LOST"


class FencedError(TermLostError):
    """A write was refused because a newer leader exists. Retrying cannot help."""

    errno = _errno.ESTALE
    reason = "FENCED"

    def __init__(self, key: str, *, term: int) -> None:
        """Name the key that was not written and the term that is over."""
        self.key = key
        self.term = term
        super().__init__(f"term {term} is over: {key!r} was not written")


class MayHaveRunError(TermLostError):
    """An earlier attempt of this request ran, or may have run, at least in part."""

    reason = "MAY_HAVE_RUN"

    def __init__(self, request_id: str, *, term: int, why: str = "", ran: bool = False) -> None:
        """Name the request and the term in which it began; 0 if the term is not known.

        ``why`` is why there is no result, if not because that term is over. ``ran``: the request is
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
    """This manager is not eligible to lead: old etcd, wrong cluster, revision went backwards."""

    errno = _errno.EPERM
    reason = "NOT_ELIGIBLE"


# -- the store ------------------------------------------------------------------------------


class StoreError(MgrError):
    """Base class of the errors of the store."""

    reason = "STORE"


class StoreUnavailableError(StoreError):
    """The store did not answer in time. For a read: nothing is known. Retry."""

    errno = _errno.EAGAIN
    reason = "STORE_UNAVAILABLE"


class OutcomeUnknownError(StoreUnavailableError):
    """A write was sent and no answer came: it may have been executed. Read before a retry."""

    errno = _errno.ETIMEDOUT
    reason = "OUTCOME_UNKNOWN"


class LeaseExpiredError(StoreError):
    """The lease has expired or was revoked, and every key attached to it is deleted."""

    errno = _errno.ESTALE
    reason = "LEASE_EXPIRED"


class AccessDeniedError(StoreError):
    """Etcd refused the credentials or the key range. An operator must correct that."""

    errno = _errno.EACCES
    reason = "ACCESS_DENIED"


class StoreFullError(StoreError):
    """Etcd is out of space: it takes no writes until an operator compacts or raises its quota."""

    errno = _errno.ENOSPC
    reason = "STORE_FULL"


class SealedError(StoreError):
    """A secret value cannot be sealed or opened: the wrapping key is not here, or does not fit."""

    errno = _errno.EACCES
    reason = "SEALED"


class ConflictError(StoreError):
    """A key that the write compares was changed meanwhile. Read again, then decide."""

    errno = _errno.EBUSY
    reason = "CONFLICT"


# -- mistakes of the caller ---------------------------------------------------------------------


class InvalidArgumentError(MgrError):
    """Invalid argument: wrong type, out of range or malformed. Nothing was changed."""

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
    """The key is empty, contains a NUL, or cannot be encoded as UTF-8."""

    reason = "INVALID_KEY"


class TooLargeError(InvalidArgumentError):
    """The value is larger than the limit. Nothing was sent."""

    errno = _errno.EFBIG
    reason = "TOO_LARGE"


class UnknownCommandError(InvalidArgumentError):
    """No command has these words; the message names the closest ones."""

    reason = "UNKNOWN_COMMAND"


class NotFoundError(MgrError):
    """The named object does not exist."""

    errno = _errno.ENOENT
    reason = "NOT_FOUND"


class NotAuthorizedError(MgrError):
    """The client does not have the capability. Nothing ran."""

    errno = _errno.EACCES
    reason = "NOT_AUTHORIZED"


class NotAuthenticatedError(NotAuthorizedError):
    """The client shows no valid certificate or token, where one is demanded. Nothing ran."""

    reason = "NOT_AUTHENTICATED"


class NotPermittedError(MgrError):
    """A rule of the product forbids this, whatever the credentials are."""

    errno = _errno.EPERM
    reason = "NOT_PERMITTED"


# -- daemons that report ------------------------------------------------------------------------


class ReportRefusedError(MgrError):
    """A report of a daemon is invalid; its stream ends. A repetition is refused as well."""

    errno = _errno.EINVAL
    reason = "REPORT_REFUSED"

    def __init__(self, rule: str, message: str) -> None:
        """Name the broken ``rule`` in one word, for metrics, and describe the fault."""
        self.rule = rule
        super().__init__(message)


class ReportLimitError(ReportRefusedError):
    """A daemon reports more, or more often, than the limit; its stream ends."""

    errno = _errno.EFBIG
    reason = "REPORT_LIMIT"


class ReplacedError(MgrError):
    """Another program joined under this daemon's name; the newer one stays joined."""

    errno = _errno.EEXIST
    reason = "REPLACED"


# -- modules ----------------------------------------------------------------------------------


class ModuleNotEnabledError(MgrError):
    """The command belongs to a module that is not enabled."""

    errno = _errno.EOPNOTSUPP
    reason = "MODULE_NOT_ENABLED"


class ModuleNotReadyError(MgrError):
    """The module is enabled, but did not finish starting in time. Nothing ran."""

    errno = _errno.ETIMEDOUT
    reason = "MODULE_NOT_READY"


class ModuleFailedError(MgrError):
    """The module failed while it was loaded, constructed or run. Nothing ran."""

    errno = _errno.EIO
    reason = "MODULE_FAILED"


class AuditUnavailableError(MgrError):
    """A required audit sink does not keep records, so nothing may be changed. Nothing ran."""

    errno = _errno.EIO
    reason = "AUDIT_UNAVAILABLE"


class OverloadedError(MgrError):
    """A queue is full. Nothing ran; retry later."""

    errno = _errno.EBUSY
    reason = "OVERLOADED"


class DeadlineExceededError(MgrError):
    """The caller's time limit passed. A command that had begun goes on; its outcome is unknown."""

    errno = _errno.ETIMEDOUT
    reason = "DEADLINE_EXCEEDED"


NOTHING_RAN: Final = (
    NotActiveError,
    ModuleNotEnabledError,
    ModuleNotReadyError,
    ModuleFailedError,
    OverloadedError,
    AuditUnavailableError,
)
"""Errors that refuse a command before it begins: a retry is safe."""


def why(error: Exception) -> str:
    """Return the reason of a failed read or write, for a message that names the file itself."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, UnicodeDecodeError):
        return f"it is no text in {error.encoding.upper()}"
    return str(error)

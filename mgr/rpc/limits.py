"""Limits of gRPC: message sizes by method, open streams, unanswered commands, joins of daemons.

Each holds for one caller and in total. A caller is the name of a client that had to authenticate,
otherwise its address. What is above a limit is refused; nothing of it ran.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Final

from mgr.access.identity import Caller
from mgr.client_limits import ClientLimits, RateLimit
from mgr.cluster.validation import MESSAGE_BYTES_MAX as REPORT_BYTES_MAX
from mgr.errors import MgrError, OverloadedError, ReportLimitError, TooLargeError

OURS: Final = "/mgr.rpc.v1."
REPORT: Final = f"{OURS}ClusterService/Report"
BYTES_MAX: Final = 1 << 20
"""Limit of one message, unless ``MESSAGE_BYTES`` has another one for its method."""
VALUE_BYTES_MAX: Final = 2 << 20
"""The same where a message carries a value for etcd, which accepts 1.5 MiB."""
MESSAGE_BYTES: Final[Mapping[str, int]] = {
    f"{OURS}CommandService/Execute": VALUE_BYTES_MAX,
    f"{OURS}CommandService/Session": VALUE_BYTES_MAX,
    f"{OURS}ClusterService/SetMap": VALUE_BYTES_MAX,
    # A daemon declares up to ten thousand counters in one message, and sends commands.
    REPORT: REPORT_BYTES_MAX,
}
METADATA_MAX: Final = 64
METADATA_BYTES_MAX: Final = 16 << 10
"""Limits of a call's metadata. gRPC applies its own to clients that acknowledged it only."""
LOCAL_CONNECTION: Final = "LocalSocket/Connection"
"""The name by which connections of the local socket are counted among the streams."""
CALLER_STREAMS: Final[Mapping[str, int]] = {
    f"{OURS}CommandService/Session": 500,
    f"{OURS}ManagerService/FollowLog": 100,
    f"{OURS}ManagerService/WatchActive": 2000,
    f"{OURS}ClusterService/WatchMaps": 2000,
    "/grpc.health.v1.Health/Watch": 5000,
    REPORT: 20_000,
    LOCAL_CONNECTION: 500,
}
"""Limit of open streams of one caller, by method. A whole fleet may share one certificate, and the
callers of ``Watch`` are told apart by their address only."""
CALLER_COMMANDS_MAX: Final = 2048
"""Limit of unanswered commands of one caller."""
CALLER_BYTES_MAX: Final = 16 << 20
"""Limit of their size together."""
TOTAL_BYTES_MAX: Final = 64 << 20
"""Limit of the size of all unanswered commands."""
CALLER_JOINS_PER_S: Final = 50.0
CALLER_JOINS_AT_ONCE: Final = 2000.0
"""New daemons of one caller. Those that come back after a failover are not counted."""
TOTAL_JOINS_PER_S: Final = 200.0
TOTAL_JOINS_AT_ONCE: Final = 10_000.0


def identity(caller: Caller) -> str:
    """Return what limits are counted by: the caller's name, if it has one, else its address."""
    return caller.address if caller.name is None else _entry(caller)


@lru_cache(maxsize=4096)
def _entry(caller: Caller) -> str:
    return caller.identities[0].entry


def allow_metadata(metadata: Sequence[tuple[str, str | bytes]]) -> bool:
    """Return whether a call's metadata are within the limits."""
    if len(metadata) > METADATA_MAX:
        return False
    size = 0
    for key, value in metadata:
        size += len(key) + len(value)
    return size <= METADATA_BYTES_MAX


def bytes_max(method: str) -> int:
    """Return the limit of one message of ``method``."""
    return MESSAGE_BYTES.get(method, BYTES_MAX)


def too_large_error(method: str, size: int) -> MgrError:
    """Return the error for a message of ``size`` bytes."""
    why = f"a message of {size} bytes; the limit is {bytes_max(method)}"
    return ReportLimitError("size", why) if method == REPORT else TooLargeError(why)


def too_many_error(method: str) -> MgrError:
    """Return the error for a message with too many fields (``mgr.rpc.preflight``)."""
    why = "a message with too many words, values, counters or other fields"
    return ReportLimitError("size", why) if method == REPORT else TooLargeError(why)


class StreamLimits:
    """Counts the open streams of this server."""

    def __init__(self, limits: ClientLimits, total_max: int) -> None:
        """Allow ``total_max`` streams in all; report refusals to ``limits``."""
        self._limits = limits
        self._total_max = total_max
        self._total = 0
        self._open: Counter[tuple[str, str]] = Counter()

    def refuse_metadata(self, caller: Caller) -> TooLargeError:
        """Count a call of ``caller`` for its metadata; return the error for it."""
        self._limits.reached("metadata", identity(caller))
        return TooLargeError("the call's metadata are too large")

    @contextlib.contextmanager
    def counted(self, method: str, caller: Caller) -> Iterator[None]:
        """Count one stream while the block runs.

        Raises:
            OverloadedError: The caller has too many streams of this method, or all callers have.

        """
        who, name = identity(caller), method.rpartition("/")[2]
        caller_max = CALLER_STREAMS.get(method, self._total_max)
        if self._open[method, who] >= caller_max:
            self._limits.reached(f"streams_{name}", who)
            raise OverloadedError(f"{caller_max} {name} streams of {who or 'this client'} are open")
        if self._total >= self._total_max:
            self._limits.reached("streams", who)
            raise OverloadedError(f"{self._total_max} streams are open; see grpc_streams_max")
        self._open[method, who] += 1
        self._total += 1
        try:
            yield
        finally:
            self._total -= 1
            self._open[method, who] -= 1
            if not self._open[method, who]:
                del self._open[method, who]


class CommandLimits:
    """Counts the unanswered commands and their bytes: all of them are kept in memory."""

    def __init__(self, limits: ClientLimits) -> None:
        """Report refusals to ``limits``."""
        self._limits = limits
        self._total_bytes = 0
        self._unanswered: dict[str, _Unanswered] = {}

    def counted(self, caller: Caller, size: int) -> _Counted:
        """Count one command of ``size`` bytes while the block runs.

        Raises:
            OverloadedError: Too many commands are unanswered, or too many bytes. It did not run.

        """
        return _Counted(self, identity(caller), size)

    def begin(self, who: str, size: int) -> _Unanswered:
        """Count one more command; raises as ``counted`` does."""
        own = self._unanswered.get(who) or _Unanswered()
        if own.commands >= CALLER_COMMANDS_MAX:
            self._limits.reached("commands", who)
            raise OverloadedError(f"{CALLER_COMMANDS_MAX} commands of {who} are not answered")
        too_many = own.bytes + size > CALLER_BYTES_MAX
        if too_many or self._total_bytes + size > TOTAL_BYTES_MAX:
            self._limits.reached("command_bytes" if too_many else "command_bytes_total", who)
            raise OverloadedError("the commands that are not answered are too large together")
        if not own.commands:
            self._unanswered[who] = own
        own.commands += 1
        own.bytes += size
        self._total_bytes += size
        return own

    def end(self, who: str, own: _Unanswered, size: int) -> None:
        """Count one less."""
        self._total_bytes -= size
        own.bytes -= size
        own.commands -= 1
        if not own.commands:
            del self._unanswered[who]


class _Unanswered:
    """The unanswered commands of one caller."""

    __slots__ = ("bytes", "commands")

    def __init__(self) -> None:
        self.commands = self.bytes = 0


class _Counted:
    """The block of ``CommandLimits.counted``: a class, since each command enters it."""

    __slots__ = ("_limits", "_own", "_size", "_who")

    def __init__(self, limits: CommandLimits, who: str, size: int) -> None:
        self._limits = limits
        self._who = who
        self._size = size

    def __enter__(self) -> None:
        self._own = self._limits.begin(self._who, self._size)

    def __exit__(self, *_: object) -> None:
        self._limits.end(self._who, self._own, self._size)


class JoinLimits:
    """Limits how fast new daemons become known."""

    def __init__(self, now: Callable[[], float], limits: ClientLimits) -> None:
        """Take the time in seconds from ``now``; report refusals to ``limits``."""
        self._limits = limits
        self._caller = RateLimit(now, per_s=CALLER_JOINS_PER_S, burst=CALLER_JOINS_AT_ONCE)
        self._total = RateLimit(now, per_s=TOTAL_JOINS_PER_S, burst=TOTAL_JOINS_AT_ONCE)

    def check(self, caller: Caller) -> None:
        """Count a daemon that was not known before.

        Raises:
            OverloadedError: Too many join at the moment; retry later.

        """
        who = identity(caller)
        if not self._caller.take(who) or not self._total.take(""):
            self._limits.reached("joins", who)
            raise OverloadedError("too many new daemons join at the moment: retry later")

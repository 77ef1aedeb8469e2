"""Why etcd cannot be used: the cause of a failed request, and what an operator does about it."""

from __future__ import annotations

from enum import Enum
from typing import Final

from mgr.errors import AccessDeniedError, StoreError, StoreFullError


class Cause(Enum):
    """Why requests to etcd fail, the most telling one first. The value is the text to show."""

    NO_SPACE = (
        "no space: etcd is full and takes no writes; compact and defragment it or raise its quota, "
        "then 'etcdctl alarm disarm'"
    )
    REFUSED = (
        "refused: etcd refuses the login or the keys of this manager; check the user and its role"
    )
    NO_QUORUM = "no quorum: etcd has no leader; start its other members and check their network"
    SLOW = "slow: etcd does not answer in time; check the load and the disks of its members"
    CUT_OFF = "cut off: no etcd endpoint can be reached; check etcd and the network to it"
    OTHER = "etcd fails for a reason that only the log of this manager names"

    @property
    def rank(self) -> int:
        """The place in the list above: of several causes the one of the lowest rank is shown."""
        return _RANKS[self]

    @property
    def text(self) -> str:
        """The cause and the next step, in one line."""
        return str(self.value)


_RANKS: Final = {cause: rank for rank, cause in enumerate(Cause)}

_BY_WORDS: Final[tuple[tuple[str, Cause], ...]] = (
    ("no leader", Cause.NO_QUORUM),
    ("possibly due to", Cause.NO_QUORUM),
    ("cannot connect", Cause.CUT_OFF),
    ("failed to connect", Cause.CUT_OFF),
    ("Socket closed", Cause.CUT_OFF),
    ("recvmsg", Cause.CUT_OFF),
    ("Connection reset", Cause.CUT_OFF),
    ("GOAWAY", Cause.CUT_OFF),
    ("no endpoint", Cause.CUT_OFF),
    ("Connection refused", Cause.CUT_OFF),
    ("Deadline Exceeded", Cause.SLOW),
    ("context deadline exceeded", Cause.SLOW),
    ("timed out", Cause.SLOW),
    ("no answer within", Cause.SLOW),
    ("too many requests", Cause.SLOW),
    ("leader changed", Cause.SLOW),
)
"""The cause by the words of etcd, of gRPC or of this package. The first match decides."""


def cause_of(error: StoreError) -> Cause:
    """Return why the request failed that raised ``error``."""
    if isinstance(error, StoreFullError):
        return Cause.NO_SPACE
    if isinstance(error, AccessDeniedError):
        return Cause.REFUSED
    text = str(error)
    return next((cause for words, cause in _BY_WORDS if words in text), Cause.OTHER)

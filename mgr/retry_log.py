"""Log that an operation keeps failing, ever more seldom, and that it works again."""

from __future__ import annotations

import logging
from typing import Final

FIRST_LOG_S: Final = 5.0
"""A failure that lasts less than this is not logged, unless it is of a new kind: a failover, in
which every operation fails for a moment, is over by then."""
LOG_INTERVAL_S_MAX: Final = 600.0


class RetryLog:
    """The log lines about one operation that is retried. Times are seconds of one clock.

    A failure is logged after ``FIRST_LOG_S``, then after twice as long, and so on, at most every
    ``LOG_INTERVAL_S_MAX``.
    """

    def __init__(self, logger: logging.Logger, begun_s: float, **fields: object) -> None:
        """Log to ``logger``, with ``fields`` in every line, about what began at ``begun_s``."""
        self._logger = logger
        self._begun_s = begun_s
        self._fields = fields
        self._next_log_s = begun_s + FIRST_LOG_S
        self._kind = ""
        self._logged = False

    def failing(
        self, now_s: float, message: str, *args: object, kind: str = "", **fields: object
    ) -> None:
        """Log a failure as a warning, if one is due or it is of another ``kind`` than the last."""
        if kind == self._kind and now_s < self._next_log_s:
            return
        self._kind = kind
        lasted_s = now_s - self._begun_s
        self._next_log_s = now_s + min(max(lasted_s, FIRST_LOG_S), LOG_INTERVAL_S_MAX)
        self._logged = True
        extra = self._fields | {"for_s": round(lasted_s)} | fields
        self._logger.warning(message, *args, extra=extra)

    def recovered(
        self, now_s: float, message: str, *args: object, level: int = logging.WARNING
    ) -> None:
        """Log that the operation succeeded, if a failure was logged before."""
        if self._logged:
            extra = self._fields | {"after_s": round(now_s - self._begun_s)}
            self._logger.log(level, message, *args, extra=extra)

"""A function of the program that sets counters before each report."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

log: Final = logging.getLogger(__name__)


class Collector:
    """Calls one function, and logs its failure once until it works again."""

    def __init__(self, function: Callable[[], object]) -> None:
        """Call ``function`` at each ``run``."""
        self._function = function
        self._failure_logged = False

    def run(self) -> None:
        """Call the function; never raises. Counters that it did not set keep their values."""
        try:
            self._function()
        except BaseException:  # the edge of the program's code, on a thread for that alone
            if not self._failure_logged:
                log.exception("collector failed, reporting the last values of its counters")
            self._failure_logged = True
        else:
            self._failure_logged = False

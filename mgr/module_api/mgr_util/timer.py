"""A recurring timer, and a decorator that measures how long a method takes."""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from mgr.clock import CLOCK

T = TypeVar("T")
log = logging.getLogger(__name__)


class RTimer(threading.Timer):
    """Calls a function every ``interval`` seconds until cancelled or until the function raises."""

    def run(self) -> None:
        """Wait and call, repeatedly."""
        try:
            while not self.finished.wait(self.interval):
                self.function(*self.args, **self.kwargs)
        except Exception:
            log.exception("recurring task raised and is stopped")
            raise
        finally:
            self.finished.set()


def profile_method(
    skip_attribute: bool = False,  # noqa: FBT001, FBT002 - positional in code written for ceph-mgr
) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Log at debug level how long a module's method takes.

    Unless ``skip_attribute``, the attribute ``_execution_duration`` of the method is the duration
    of its last call.
    """

    def decorate(method: Callable[..., T]) -> Callable[..., T]:
        @functools.wraps(method)
        def timed(self: Any, *args: Any, **kwargs: Any) -> T:
            began_at = CLOCK.now()
            self.log.debug("Starting method %s.", method.__name__)
            result = method(self, *args, **kwargs)
            took_s = CLOCK.now() - began_at
            if not skip_attribute:
                timed._execution_duration = took_s  # type: ignore[attr-defined] # noqa: SLF001 - Ceph's name
            self.log.debug("Method %s ran %.3f seconds.", method.__name__, took_s)
            return result

        return timed

    return decorate

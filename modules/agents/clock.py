"""The clock of this module: seconds that only grow, with no meaning of their own."""

from __future__ import annotations

import time


def now() -> float:
    """Return the seconds since some moment."""
    return time.monotonic()  # noqa: TID251 - a module has no other clock

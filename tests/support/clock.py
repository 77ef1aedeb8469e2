"""Time that a test moves by hand: the one that authors of modules get."""

from mgr.testing.clock import ManualClock

__all__ = ["ManualClock"]

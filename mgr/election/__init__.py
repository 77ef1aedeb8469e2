"""Who leads, decided by pure functions."""

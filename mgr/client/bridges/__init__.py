"""Bridges from other metrics libraries: what they count is reported by a daemon."""

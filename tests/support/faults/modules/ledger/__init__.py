"""A module that keeps a ledger, acts outside, and breaks in every way when asked to."""

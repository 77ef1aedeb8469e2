"""Selftest: tests the module interface from inside, and causes faults. For tests only."""

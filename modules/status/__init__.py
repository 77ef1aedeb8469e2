"""Status: shows managers, modules and counters as tables."""

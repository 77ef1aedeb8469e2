"""The client of a fleet member: joins, reports counters and status, runs commands."""

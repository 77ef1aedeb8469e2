"""What the cluster said: its log, and later its daemons, counters and maps."""

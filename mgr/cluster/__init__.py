"""State of the cluster in the active's memory: daemons, counters, published maps, cluster log."""

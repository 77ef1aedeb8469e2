"""The fault laboratory: causes faults in a real cluster, records what happens, and checks it."""

"""The standby role of a manager."""

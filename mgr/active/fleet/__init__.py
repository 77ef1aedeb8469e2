"""The fleet of daemons on the active: read by modules, stored, kept cheap for the collector."""

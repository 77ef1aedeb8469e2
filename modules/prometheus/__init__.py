"""Prometheus: exports counters, health and daemon states."""

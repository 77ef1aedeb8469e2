"""Crash: stores and lists crash reports, and warns of recent ones in health."""

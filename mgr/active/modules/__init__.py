"""Modules on the active: which run, their context, calls to each other, crash reports."""

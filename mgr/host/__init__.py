"""Hosts modules: finds them, runs each in its own threads, and stops or reloads them.

Used by the active manager and by standbys.
"""

"""Explicit-state model checking over the real pure code: ``docs/model.md``."""

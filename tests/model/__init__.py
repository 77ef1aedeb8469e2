"""Explicit-state model checking over the real pure code: ``docs/explanation/model-checking.md``."""

"""A module that reads what simulated daemons report."""

from .module import Module

__all__ = ["Module"]

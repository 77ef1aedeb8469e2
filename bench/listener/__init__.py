"""A module that only listens; it is installed under several names at once."""

from .module import Module

__all__ = ["Module"]

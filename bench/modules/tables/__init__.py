"""A module that measures its database from inside."""

from .module import Module

__all__ = ["Module"]

"""A module that measures its host from inside."""

from .module import Module

__all__ = ["Module"]

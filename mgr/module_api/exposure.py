"""Marks on methods that may be called from outside: ceph-mgr's module ``cli_api`` reads them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


class _Mark:
    """A decorator that puts a value on a function and leaves it as it is otherwise."""

    attribute: ClassVar[str]
    default: ClassVar[Any]

    def __init__(self, value: Any) -> None:
        self.value = value

    def __call__(self, func: F) -> F:
        """Mark ``func``."""
        setattr(func, self.attribute, self.value)
        return func

    @classmethod
    def get(cls, func: Callable[..., Any]) -> Any:
        """What ``func`` is marked with, or the default."""
        return getattr(func, cls.attribute, cls.default)


class _Perm(_Mark):
    """Which permission a call needs."""

    attribute = "__ATTR_PERM__"
    default = "r"

    def __init__(self, value: str = "r") -> None:
        super().__init__(value)


class _Expose(_Mark):
    """Whether it may be called at all."""

    attribute = "__ATTR_EXPOSE__"
    default = False


class API:
    """``@API.expose`` publishes a method; ``@API.perm("w")`` says what a call needs."""

    perm = _Perm
    expose = _Expose(True)  # noqa: FBT003 - the value of the mark

"""``Command``, with which plug-ins of Reef's dashboard, and older code, declare commands."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from mgr.module_api.command import CLICommand, HandlerFuncType, register_in_package
from mgr.module_api.result import HandleCommandResult


class Command(dict[str, Any]):
    """A command and its handler, outside of any class. It has no effect until ``register``."""

    def __init__(
        self,
        prefix: str,
        handler: HandlerFuncType,
        perm: str = "rw",
        poll: bool = False,  # noqa: FBT001, FBT002 - ceph-mgr's signature
    ) -> None:
        super().__init__(perm=perm, poll=poll)
        self.prefix = prefix
        self.handler = handler

    @staticmethod
    def returns_command_result(
        instance: Any, f: HandlerFuncType
    ) -> Callable[..., HandleCommandResult]:
        """Wrap ``f``: its first argument is ``instance``, or the module if that is false."""

        @functools.wraps(f)
        def wrapper(mgr: Any, *args: Any, **kwargs: Any) -> HandleCommandResult:
            return HandleCommandResult(*f(instance or mgr, *args, **kwargs))

        wrapper.__signature__ = inspect.signature(f)  # type: ignore[attr-defined] # read by inspect
        return wrapper

    def register(self, instance: Any = False) -> HandlerFuncType:  # noqa: FBT002 - as above
        """Register it as a command of the package that defines the handler.

        With ``instance``, the handler is called as a method of that instead of the module. Must be
        called while the package is imported, because the host collects the commands right after.
        """
        command = CLICommand(self.prefix, self["perm"], self["poll"])
        handler = command(self.returns_command_result(instance, self.handler))
        register_in_package(command, handler)
        return handler

"""One module and the context that ``mgr.testing`` gives it, without the rest of its host."""

from __future__ import annotations

from typing import Any

from mgr.testing.context import Context

__all__ = ["Context", "command", "run"]


def run(cls: Any, name: str = "test", **options: object) -> tuple[Any, Context]:
    """One active module and its context, with options set as an operator would."""
    context = Context(name, cls)
    for option, value in options.items():
        context.set_option(name, option, str(value))
    module = cls(name, context, 0)
    context.neighbours[name] = module
    return module, context


def command(module: Any, prefix: str, inbuf: str = "", /, **arguments: Any) -> Any:
    """Have a module answer one command, as the host does."""
    return module._handle_command(inbuf, {"prefix": prefix, **arguments})

"""Command-line flags for the settings of ``mgrd``, generated from their descriptions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from mgr.settings import ENVIRONMENT_PREFIX, describe


def setting_flags(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add one flag for each setting to ``function``; a flag that is not given is None."""
    for name, kind, default, words in reversed(list(describe())):
        shown = ",".join(default) if isinstance(default, tuple) else str(default)
        flag = click.option(
            f"--{name.replace('_', '-')}",
            name,
            metavar=kind.upper().replace(" ", "-"),
            help=f"{words}.  [{ENVIRONMENT_PREFIX}{name.upper()}; default: {shown or 'none'}]",
        )
        function = flag(function)
    return function

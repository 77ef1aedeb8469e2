"""Runs systemctl, podman and docker, and writes the files that they read."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Final

from mgr.agent.program import run

LIMIT_S: Final = 60.0
"""Starting a container may load its image first."""
VARIABLES: Final = "environment"
CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
"""systemd leaves a variable out whose value has one of them; tabs and ends of lines it takes."""


async def checked(*command: str, limit_s: float = LIMIT_S) -> str:
    """Run ``command`` and return its output.

    Raises:
        OSError: It cannot be started.
        RuntimeError: It failed, or took longer than ``limit_s``.

    """
    name = PurePath(command[0]).name
    try:
        status, output = await run(*command, limit_s=limit_s)
    except TimeoutError:
        raise RuntimeError(f"{name} took longer than {limit_s:g} s") from None
    if status:
        last = output.strip().splitlines()[-1:] or [f"exited with {status}"]
        raise RuntimeError(f"{name}: {last[0]}")
    return output


def write_variables(folder: Path, variables: Mapping[str, str], *, quoted: bool) -> Path:
    """Write a file of variables that only the agent's user may read; return its path.

    It is ``quoted`` for systemd, and plain for a container engine.

    Raises:
        RuntimeError: A value cannot be in the file: one of several lines, unless it is quoted, or
            one with a control character, if it is.

    """
    lines = []
    for name, value in variables.items():
        if not quoted and "\n" in value:
            raise RuntimeError(f"variable {name}: more than one line, which no container can get")
        if quoted and CONTROL.search(value):
            raise RuntimeError(f"variable {name}: a control character, which no unit can get")
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        lines.append(f'{name}="{escaped}"\n' if quoted else f"{name}={value}\n")
    path = folder / VARIABLES
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.writelines(lines)
    return path

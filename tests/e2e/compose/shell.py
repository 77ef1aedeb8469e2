"""Programs of this machine, run with a limit and reported in full when they fail."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from mgr.clock import CLOCK


class UnavailableError(Exception):
    """This machine cannot have what the compose tier needs; the message says what and why."""


def say(text: str) -> None:
    """Tell whoever waits what takes so long; bypasses pytest's capture."""
    print(f"[compose {CLOCK.now():.0f}] {text}", file=sys.__stderr__, flush=True)


def run(
    *command: str | Path,
    limit_s: float = 60,
    check: bool = True,
    environment: Mapping[str, str] | None = None,
    data: str | None = None,
) -> str:
    """Run a program and return what it printed, standard error included.

    Raises:
        RuntimeError: It failed (unless not ``check``) or took longer than ``limit_s``; the
            message holds the command and its last lines.

    """
    words = [str(word) for word in command]
    done = _completed(words, limit_s, environment, data)
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(words)} ended with {done.returncode}:\n{_tail(done.stdout)}")
    return done.stdout


def succeeds(*command: str | Path, limit_s: float = 60) -> bool:
    """Run a program that may fail, or not exist; whether it did well."""
    try:
        return _completed([str(word) for word in command], limit_s).returncode == 0
    except (OSError, RuntimeError):
        return False


def _completed(
    words: Sequence[str],
    limit_s: float,
    environment: Mapping[str, str] | None = None,
    data: str | None = None,
) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            words,
            env={**os.environ, **(environment or {})},
            input=data or "",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        printed = late.stdout.decode(errors="replace") if late.stdout else ""
        raise RuntimeError(f"{' '.join(words)} took over {limit_s} s:\n{_tail(printed)}") from None


def _tail(text: str) -> str:
    return "\n".join(text.splitlines()[-40:])

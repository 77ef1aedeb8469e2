"""Find promtool, or fetch it: Debian's package prometheus has it. Nothing is installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.support import debian

SUITE: Final = "bookworm"
CACHE: Final = debian.CACHE / "prometheus"


class NoPromtoolError(Exception):
    """There is none; the text says why."""


def find() -> Path:
    """Return promtool.

    Raises:
        NoPromtoolError: It is neither on PATH nor to be had.

    """
    if found := shutil.which("promtool"):
        return Path(found)
    try:
        return debian.unpacked(SUITE, ["prometheus"], CACHE) / "usr" / "bin" / "promtool"
    except (OSError, subprocess.SubprocessError) as error:
        raise NoPromtoolError(str(error)) from error


@pytest.fixture(scope="session")
def promtool() -> Path:
    """Prometheus' own judge of rules; skips, saying why, where it cannot be had."""
    try:
        return find()
    except NoPromtoolError as error:
        pytest.skip(f"NO PROMTOOL, so no alert rule is tried: {error}")

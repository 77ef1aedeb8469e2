"""What was typed and what came back, as a page for people: docs/reference/compose-transcript.md."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

VARIABLE: Final = "MGR_TRANSCRIPT"
"""File to write the page to; unset: none is written."""
LINES_MAX: Final = 14

NOISE: Final = re.compile(
    r"#\d+ | (Container|Volume|Network) .* "
    r"(Running|Waiting|Healthy|Created?|Recreated?|\w+ing)$"
)
"""Lines of the build, and those on the way to a state: where it fails, the test shows them."""

HEAD: Final = """\
# A transcript: three managers in containers, broken on purpose

Written by the test that drives the very files of `deploy/` (`make compose-transcript`), not by
hand. Each line after `$` was run as it stands, in the root of the checkout.
Machine: {machine}.
"""


class Transcript:
    """Collects; nothing reaches the disk before ``write``."""

    def __init__(self, project: str) -> None:
        """Say ``mgr`` where the test's containers are named after ``project``."""
        self._project = project
        self._parts: list[str] = []
        self.machine = ""

    def section(self, title: str) -> None:
        """Begin a section."""
        self._parts.append(f"\n## {title}\n")

    def typed(self, line: str, output: str, seconds: float) -> None:
        """Note a command and what it said."""
        shown = self._shortened(self._cleaned(output))
        took = f"({seconds:.1f} s)"
        self._parts.append("\n".join(["```text", f"$ {line}", *shown, took, "```"]) + "\n")

    def saw(self, text: str) -> None:
        """Note what the test found, beside what it typed."""
        self._parts.append(f"{text}\n")

    def write(self) -> None:
        """Write the page, if it was asked for."""
        name = os.environ.get(VARIABLE)
        if name:
            page = "\n".join([HEAD.format(machine=self.machine), *self._parts])
            Path(name).write_text(re.sub(r"\n{3,}", "\n\n", page))

    def _cleaned(self, text: str) -> list[str]:
        bare = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text).replace(self._project, "mgr")
        lines = [line.rstrip() for line in bare.splitlines() if line.strip()]
        return [line for line in lines if not NOISE.match(line)]

    def _shortened(self, lines: list[str]) -> list[str]:
        if len(lines) <= LINES_MAX:
            return lines
        half = LINES_MAX // 2
        return [*lines[:half], f"... {len(lines) - 2 * half} lines ...", *lines[-half:]]

"""``mgrctl module check``: grades a module by rules, with the reason and the fix for each.

The module's code runs, in processes of its own that end at a limit.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mgr.authoring.inspection import inspect_files
from mgr.authoring.rules import RULES, Finding, Grade, grade_of
from mgr.authoring.source import ModuleSource

TRIAL_S: Final = 60.0
"""Limit for the rules for which the module has to run."""
TESTS_S: Final = 300.0
TYPES_S: Final = 300.0
NOT_REACHED: Final = "not tried: an earlier rule is broken"
NO_TESTS: Final = 5
"""Exit status of pytest if it finds no test."""


@dataclass(frozen=True, slots=True)
class Report:
    """The result of one check.

    Attributes:
        findings: By the name of the rule, in the order of ``RULES``.

    """

    name: str
    grade: Grade
    findings: Mapping[str, Finding]

    def as_document(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "module": self.name,
            "grade": self.grade.name.lower(),
            "rules": [
                {
                    "rule": rule.name,
                    "grade": rule.grade.name.lower(),
                    "kept": self.findings[rule.name].kept,
                    "title": rule.title,
                    "reason": self.findings[rule.name].reason,
                    "fix": rule.fix,
                }
                for rule in RULES.values()
            ],
        }

    def as_text(self) -> str:
        """Return it as lines for people."""
        lines = []
        for rule in RULES.values():
            finding = self.findings[rule.name]
            mark = {True: "ok", False: "NO", None: "-"}[finding.kept]
            lines.append(f"{mark:<3} {rule.grade.name.lower():<9} {rule.name:<18} {rule.title}")
            if finding.kept is False:
                lines += [f"      why: {finding.reason}", f"      fix: {rule.fix}"]
        grade = self.grade.name.lower() if self.grade else "no grade: bronze is not reached"
        return "\n".join([*lines, f"{self.name}: {grade}"])


def check_module(source: ModuleSource) -> Report:
    """Try every rule on the module."""
    findings: dict[str, Finding] = {}
    for finding in (
        *_tried(source),
        *inspect_files(source),
        _tests_pass(source),
        _typed(source),
    ):
        before = findings.get(finding.rule)
        # A rule may be looked at twice: what breaks it counts.
        if before is None or before.kept is not False:
            findings[finding.rule] = finding
    for name in RULES.keys() - findings.keys():
        findings[name] = Finding(name, kept=False, reason=NOT_REACHED)
    return Report(source.name, grade_of(findings), findings)


def _tried(source: ModuleSource) -> Iterator[Finding]:
    """Run the trial in another process; a rule during which it ends or hangs is broken."""
    with tempfile.TemporaryDirectory() as place:
        results = Path(place, "results")
        results.touch()
        command = [sys.executable, "-P", "-m", "mgr.authoring.trial", source.folder, results]
        done = _run(command, Path(place), TRIAL_S)
        how = done.how or f"the process exited with status {done.status}: {done.last_line}"
        lines = [json.loads(line) for line in results.read_text().splitlines()]
    if not lines:
        # It had no time to begin, or this program cannot run here.
        yield Finding("loads", kept=False, reason=how)
    ended = {line["rule"] for line in lines if "kept" in line}
    for line in lines:
        if "kept" in line:
            yield Finding(line["rule"], line["kept"], line["reason"])
        elif line["rule"] not in ended:
            yield Finding(line["rule"], kept=False, reason=how)


def _tests_pass(source: ModuleSource) -> Finding:
    tests = source.tests()
    if not tests:
        return Finding("tests-pass", kept=False, reason="there are none")
    if importlib.util.find_spec("pytest") is None:
        return Finding("tests-pass", kept=False, reason="not run: install pytest")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
    done = _run(command, source.folder.parent, TESTS_S)
    if done.status == 0:
        return Finding("tests-pass", kept=True)
    why = "pytest finds no test in them" if done.status == NO_TESTS else done.last_line
    return Finding("tests-pass", kept=False, reason=done.how or why)


def _typed(source: ModuleSource) -> Finding:
    if importlib.util.find_spec("mypy") is None:
        return Finding("typed", kept=False, reason="not checked: install mypy")
    with tempfile.TemporaryDirectory() as place:
        # Without the author's own settings: the grade must not depend on them.
        command = [
            sys.executable, "-m", "mypy", "--strict", "--config-file", os.devnull,
            "--cache-dir", place, "--no-error-summary", "--scripts-are-modules",
            *source.trees,
        ]  # fmt: skip
        done = _run(command, source.folder.parent, TYPES_S)
    if done.status == 0:
        return Finding("typed", kept=True)
    errors = [line for line in done.output.splitlines() if ": error: " in line]
    shown = [*errors[:3], *([f"and {len(errors) - 3} more"] if len(errors) > 3 else [])]
    return Finding("typed", kept=False, reason=done.how or "; ".join(shown) or done.last_line)


@dataclass(frozen=True, slots=True)
class _Done:
    """How a process ended; ``how`` is empty if it exited by itself."""

    status: int
    output: str
    how: str

    @property
    def last_line(self) -> str:
        return (self.output.strip().splitlines() or [f"it ended with status {self.status}"])[-1]


def _run(command: Sequence[object], folder: Path, limit_s: float) -> _Done:
    """Run a program and all that it starts, for ``limit_s`` at most; its input is empty."""
    with subprocess.Popen(  # noqa: S603 - our own programs, and those that the author installed
        [str(word) for word in command],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=limit_s)
            how = _describe(process.returncode)
        except subprocess.TimeoutExpired:
            how, output = f"it did not end within {limit_s:g} s", ""
        finally:
            _end_group(process)
    return _Done(process.returncode, output, how)


def _describe(status: int) -> str:
    return f"the process was ended by {signal.Signals(-status).name}" if status < 0 else ""


def _end_group(process: subprocess.Popen[str]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return

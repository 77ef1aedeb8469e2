"""The rules of ``mgrctl module check``, their grades, and what to do about each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final


class Grade(IntEnum):
    """How well a module is made; each grade includes those below it."""

    NONE = 0
    BRONZE = 1
    SILVER = 2
    GOLD = 3
    PLATINUM = 4


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        title: What holds if it is kept.
        fix: What to do if it is not.

    """

    name: str
    grade: Grade
    title: str
    fix: str


@dataclass(frozen=True, slots=True)
class Finding:
    """How a module stands to one rule.

    Attributes:
        kept: Whether it keeps the rule; None if the rule does not apply to it.
        reason: What was found, in one line.

    """

    rule: str
    kept: bool | None
    reason: str = ""


RULES: Final[Mapping[str, Rule]] = {
    rule.name: rule
    for rule in (
        Rule(
            "loads",
            Grade.BRONZE,
            "it is imported, and has one module class and valid declarations",
            "repair the line that the reason names",
        ),
        Rule(
            "constructs",
            Grade.BRONZE,
            "its active and its standby class can be constructed without stored data",
            "read options and entries in the constructor with defaults; begin work in serve",
        ),
        Rule(
            "declared-once",
            Grade.BRONZE,
            "no command or option is declared twice",
            "remove or rename one of the two",
        ),
        Rule(
            "described",
            Grade.BRONZE,
            "every command and option has a description",
            "give the command's method a docstring, and the option a desc",
        ),
        Rule(
            "shutdown-returns",
            Grade.SILVER,
            "serve returns soon after shutdown was called",
            "wait in serve on a threading.Event that shutdown sets",
        ),
        Rule(
            "survives-failover",
            Grade.SILVER,
            "a new instance starts from what the last one stored",
            "keep what must survive with set_store, and read it in the constructor",
        ),
        Rule(
            "effects-declared",
            Grade.SILVER,
            "the class says where it acts",
            'set EFFECTS to "store", "none" or "external" in the class',
        ),
        Rule(
            "public-names",
            Grade.SILVER,
            "it imports nothing of the manager but the names that modules are given",
            "import from mgr_module, mgr_util, object_format, ceph_argparse and cherrypy_mgr",
        ),
        Rule(
            "test-present",
            Grade.SILVER,
            "it has tests",
            "write test_NAME.py with the fixture mgr_host",
        ),
        Rule(
            "docs-present",
            Grade.SILVER,
            "it has a page for its users and a docstring",
            "write README.md beside module.py, and a docstring for the file and the class",
        ),
        Rule(
            "threads-end",
            Grade.GOLD,
            "no thread or child process that it started outlives shutdown",
            "join your own threads and end your child processes in shutdown",
        ),
        Rule(
            "callbacks-return",
            Grade.GOLD,
            "commands and notifications do not block",
            "give every wait a limit, and do long work in serve",
        ),
        Rule(
            "annotated",
            Grade.GOLD,
            "every function has types",
            "annotate parameters and return values",
        ),
        Rule(
            "tests-pass",
            Grade.GOLD,
            "its tests pass",
            "run pytest on them, and repair what fails",
        ),
        Rule(
            "typed",
            Grade.PLATINUM,
            "mypy --strict finds nothing",
            "run mypy --strict on the folder, and repair what it names",
        ),
        Rule(
            "manifest",
            Grade.PLATINUM,
            "a manifest lists what it reaches, and is enforced",
            "write manifest.toml with enforce = true",
        ),
        Rule(
            "standby-half",
            Grade.PLATINUM,
            "a module that publishes an address answers on standbys, too",
            "add a MgrStandbyModule that redirects with get_active_uri",
        ),
    )
}
"""By name, in the order in which they are shown."""


def grade_of(findings: Mapping[str, Finding]) -> Grade:
    """Return the highest grade of which every rule, and every rule below it, is kept."""
    reached = Grade.NONE
    for grade in list(Grade)[1:]:
        rules = [rule.name for rule in RULES.values() if rule.grade is grade]
        if any(name not in findings or findings[name].kept is False for name in rules):
            break
        reached = grade
    return reached

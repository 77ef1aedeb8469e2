# ruff: noqa: E501 - rows of tables
"""The page about faults of modules in processes, made from the table that ``tests/e2e/test_injuries.py`` does."""

from __future__ import annotations

from tests.support.injuries import DIES, FAILS, HANGS, INJURIES, LIVES

HEAD = """\
# Faults of a module in a process of its own

What becomes of a module that runs in [a process of its own](../how-to/isolate-modules.md), and of everything else. Each row is done to a
cluster by `tests/e2e/test_injuries.py`, which checks every column; this page is written by `make docs`.

In every row the active manager stays the same, its worker goes on, and other modules answer from the same processes as before.

| fault | the module | its caller | health and log |
|---|---|---|---|
"""

TAIL = """
A command that may change something and was under way when the process ended is answered "may have run" (`OUTCOME_UNKNOWN`, and `MAY_HAVE_RUN` if
it is repeated); one that only reads is answered with an error (`EIO`). Commands that had not begun wait for the next instance.

| what the module does in the manager's hands | what happens |
|---|---|
| a command kills the process each time it is asked | started again at once, then after growing pauses; `MGR_MODULE_ERROR` names the signal and the command; no worker dies, and the module is not quarantined |
| `sys.exit` in `serve` | `MGR_MODULE_ERROR`: `SystemExit: 1`; constructed again after growing pauses |
| `sys.exit` in `config_notify` | the log has the traceback |
| a constructor that never returns | `MGR_MODULE_ERROR` after `module_load_s`; `disable` kills it |
| it dies or hangs while it is imported, enabled or not | it does not load; `mgr module ls` and health name the signal and the line |
"""

FATES = {
    DIES: (
        "started again at once; what it had started is killed",
        "may have run",
        "`MGR_MODULE_ERROR`: {said}; log: `the process of a module ended by itself`; a crash report with the last stack",
    ),
    FAILS: ("goes on", "an error: {said}", "nothing"),
    LIVES: ("goes on", "the answer", "nothing"),
    HANGS: (
        "does not answer; `reload`, `disable` and a hand-over kill its process",
        "waits until its deadline",
        "log: `module did not stop: its process was killed`",
    ),
}


def isolation() -> str:
    """The page."""
    rows = []
    for injury in INJURIES:
        fate, caller, seen = (text.format(said=f"`{injury.said}`") for text in FATES[injury.fate])
        if injury.code_shown:
            seen = f"`{injury.code_shown}`" + (f"; {seen}" if seen != "nothing" else "")
        rows.append(f"| {injury.name} | {fate} | {caller} | {seen} |\n")
    return HEAD + "".join(rows) + TAIL

"""Grading a module: each rule finds what breaks it, and a good module breaks none."""

from __future__ import annotations

import io
import json

import pytest

from mgr.authoring.check import check_module
from mgr.authoring.inspection import inspect_files
from mgr.authoring.rules import RULES, Finding, Grade, grade_of
from mgr.authoring.scaffold import create_module
from mgr.authoring.source import ModuleSource
from mgr.authoring.trial import Trial
from mgr.errors import NotFoundError


def inspected(source):
    return {found.rule: found for found in inspect_files(source)}


def tried(source):
    """What the trial wrote down, by rule; here in this process."""
    lines = io.StringIO()
    Trial(source.folder, lines).run()
    found = [json.loads(line) for line in lines.getvalue().splitlines()]
    return {each["rule"]: each for each in found if "kept" in each}


def test_the_template_keeps_every_rule_that_is_read_or_tried(tmp_path):
    """An author begins with a module to look at."""
    source = ModuleSource.at(create_module("greet", tmp_path))

    findings = [*inspected(source).values()]
    trial = tried(source)

    assert [found for found in findings if not found.kept] == []
    assert {rule: each["reason"] for rule, each in trial.items() if not each["kept"]} == {}
    assert {each.rule for each in findings} | trial.keys() == RULES.keys() - {
        "tests-pass",
        "typed",
    }


BROKEN = {
    "loads": ("x = 1 / 0", "ZeroDivisionError: division by zero"),
    "constructs": (
        """
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            int(self.get_store("count"))
        """,
        "TypeError: int() argument",
    ),
    "declared-once": ('MODULE_OPTIONS = [Option("a"), Option("a")]', "option 'a'"),
    "described": ('MODULE_OPTIONS = [Option("a")]', "no description: option 'a'"),
    "effects-declared": ("del EFFECTS", "the class has no EFFECTS"),
    "manifest": ("pass", "there is no manifest"),
    "shutdown-returns": (
        """
        def serve(self):
            time.sleep(10)
        """,
        "TimeoutError: serve() still runs 0.1 s after shutdown()",
    ),
    "survives-failover": (
        """
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            assert self.get_store("made") is None, "made before"
            self.set_store("made", "1")
        """,
        "AssertionError: made before",
    ),
    "standby-half": (
        """
        def serve(self):
            self.set_uri("http://a/")
        """,
        "set_uri is called and there is no MgrStandbyModule",
    ),
    "threads-end": (
        """
        def serve(self):
            threading.Thread(target=time.sleep, args=(9,), name="left", daemon=True).start()
        """,
        "still there: thread left",
    ),
    "callbacks-return": (
        """
        def config_notify(self):
            threading.Event().wait(0.2)
        """,
        "config_notify() took 0.2 s",
    ),
}


@pytest.mark.parametrize("rule", BROKEN)
def test_a_rule_that_is_tried_finds_what_breaks_it(write, monkeypatch, rule):
    """With the reason."""
    for name, limit_s in (
        ("SERVING_S", 0.05),
        ("STOP_S", 0.1),
        ("CALLBACK_S", 0.1),
        ("LEFT_S", 0.1),
    ):
        monkeypatch.setattr(f"mgr.authoring.trial.{name}", limit_s)
    body, reason = BROKEN[rule]

    found = tried(write(body))[rule]

    assert found["kept"] is False
    assert reason in found["reason"]


def test_what_does_not_apply_breaks_no_rule(write):
    """A module without an address needs no standby half."""
    assert tried(write())["standby-half"]["kept"] is None


READ = {
    "public-names": ("from mgr.store import api", "module.py:14 imports mgr.store"),
    "test-present": ("pass", "no test_*.py"),
    "docs-present": ("pass", "no README.md"),
    "annotated": ("def f(self, a): ...", "module.py:14 f: no type of a"),
    "callbacks-return": (
        """
        @CLIReadCommand("sample wait")
        def wait(self) -> HandleCommandResult:
            self._work()
        def _work(self) -> None:
            time.sleep(1)
        def shutdown(self) -> None:
            self.thread.join()
            subprocess.run(["true"])
        def serve(self) -> None:
            time.sleep(1)
        """,
        "module.py:19 _work, called by wait: time.sleep() blocks; "  # noqa: ISC004 - one text
        "module.py:21 shutdown: join() has no limit; "
        "module.py:22 shutdown: subprocess.run() has no timeout",
    ),
}  # fmt: skip


@pytest.mark.parametrize("rule", READ)
def test_a_rule_that_is_read_off_the_files_names_the_line(write, rule):
    """Work in ``serve`` may block; in callbacks and commands not."""
    body, reason = READ[rule]

    found = inspected(write(body))[rule]

    assert (found.kept, found.reason) == (False, reason)


def test_waits_with_a_limit_are_no_blocks(write):
    """And neither is what a function defined inside does later."""
    source = write(
        """
        def shutdown(self) -> None:
            self.thread.join(5)
            self.done.wait(timeout=1)
            ", ".join(["a"])
            subprocess.run(["true"], timeout=3)
            later = lambda: time.sleep(5)
        """
    )

    assert inspected(source)["callbacks-return"].kept


def test_a_grade_needs_every_rule_of_it_and_below():
    """One broken rule of silver leaves bronze, whatever else is kept."""
    kept = {name: Finding(name, kept=True) for name in RULES}

    assert grade_of(kept) is Grade.PLATINUM
    assert grade_of(kept | {"typed": Finding("typed", kept=None)}) is Grade.PLATINUM
    assert grade_of(kept | {"typed": Finding("typed", kept=False)}) is Grade.GOLD
    assert grade_of(kept | {"test-present": Finding("", kept=False)}) is Grade.BRONZE
    assert grade_of(kept | {"loads": Finding("loads", kept=False)}) is Grade.NONE
    assert grade_of({}) is Grade.NONE


def test_no_module_is_named_with_what_to_name(tmp_path):
    """A file ``module.py`` stands for its folder."""
    with pytest.raises(NotFoundError, match=r"name a folder with a file module.py"):
        ModuleSource.at(tmp_path)
    (tmp_path / "module.py").touch()
    assert ModuleSource.at(tmp_path / "module.py") == ModuleSource.at(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("os.kill(os.getpid(), 11)", "the process was ended by SIGSEGV"),
        ("os._exit(3)", "the process exited with status 3"),
        ("time.sleep(60)", "it did not end within 3 s"),
    ],
)
def test_a_module_that_ends_or_hangs_the_process_is_graded_all_the_same(
    write, monkeypatch, body, reason
):
    """The rule that was being tried is broken, the rest was not tried; here ``loads``."""
    monkeypatch.setattr("mgr.authoring.check.TRIAL_S", 3.0 if "sleep" in body else 60.0)
    monkeypatch.setattr("mgr.authoring.check._typed", lambda _: Finding("typed", kept=True))

    report = check_module(write(body))

    assert report.grade is Grade.NONE
    assert report.findings["loads"].reason.startswith(reason)
    assert report.findings["constructs"].reason == "not tried: an earlier rule is broken"
    assert f"why: {reason}" in report.as_text()
    assert report.as_document()["rules"][0]["fix"] == RULES["loads"].fix


@pytest.mark.slow
def test_tests_and_types_that_fail_are_named(write):
    """By the last line of pytest, and by the first errors of mypy."""
    source = write("x: int = 'text'", test_sample__py="def test_it():\n    assert False\n")

    findings = check_module(source).findings

    assert "1 failed" in findings["tests-pass"].reason
    assert "sample/module.py:14: error: Incompatible types" in findings["typed"].reason


@pytest.mark.slow
def test_the_new_module_reaches_platinum(tmp_path):
    """Its test passes, and mypy finds nothing: the whole check, as an author runs it."""
    report = check_module(ModuleSource.at(create_module("greet", tmp_path)))

    assert report.grade is Grade.PLATINUM, report.as_text()

"""A constant sentence plus fields, for people or for collectors."""

from __future__ import annotations

import io
import json
import logging
import logging.config

import pytest

from mgr import logs


@pytest.fixture
def root(monkeypatch):
    """The root logger, left as it was found."""
    logger = logging.getLogger()
    handlers, level = logger.handlers[:], logger.level
    yield logger
    logger.handlers[:] = handlers
    logger.setLevel(level)


def lines(capsys):
    """What was written to standard error."""
    logs.flush_all()
    return capsys.readouterr().err.splitlines()


def test_a_line_for_people_ends_with_its_fields(root, capsys):
    """Names first, values quoted where they would be misread."""
    logs.set_up(level="info", form="text", manager="a", component="guard")

    logging.getLogger("mgr.x").info("phase changed", extra={"phase": "ACTIVE", "why": "it won"})

    [line] = lines(capsys)
    assert line.endswith("INFO    a/guard mgr.x: phase changed phase=ACTIVE why='it won'")
    assert line[10] == "T"
    assert line[23] == "Z"


def test_a_line_for_collectors_is_one_object(root, capsys):
    """Fields are keys."""
    logs.set_up(level="info", form="json", manager="a", component="guard")

    logging.getLogger("mgr.x").warning("phase changed", extra={"phase": "ACTIVE", "term": 7})

    [line] = lines(capsys)
    said = json.loads(line)
    assert said.pop("timestamp")
    assert said == {
        "level": "WARNING",
        "logger": "mgr.x",
        "message": "phase changed",
        "manager": "a",
        "component": "guard",
        "phase": "ACTIVE",
        "term": 7,
    }


def test_what_is_below_the_level_is_not_written(root, capsys):
    """And setting up again replaces what was."""
    logs.set_up(level="debug", form="text", manager="a", component="guard")
    logs.set_up(level="error", form="text", manager="a", component="guard")

    logging.getLogger("mgr.x").warning("no")
    logging.getLogger("mgr.x").error("yes")

    assert len(lines(capsys)) == 1


def test_a_message_of_many_lines_cannot_pass_for_several_records(root, capsys):
    """Whatever a module logs, a line that begins at the margin is ours."""
    logs.set_up(level="info", form="text", manager="a", component="worker")

    forged = ValueError("one\n2026-01-01T00:00:00.000Z ERROR forged")
    logging.getLogger("m").error("it\nfailed", exc_info=forged)

    first, *rest = lines(capsys)
    assert "it" in first
    assert rest
    assert all(line.startswith("    ") for line in rest)


def test_libraries_write_warnings_only(root, capsys):
    """At ``debug`` too: the manager's own lines must be found among them."""
    logs.set_up(level="debug", form="text", manager="a", component="worker")

    logging.getLogger("some.library").debug("no")
    logging.getLogger("some.library").info("no")
    logging.getLogger("some.library").warning("yes")
    logging.getLogger("mgr.x").debug("yes")

    assert [line[-3:] for line in lines(capsys)] == ["yes", "yes"]


def clear_handlers():
    """Take the handlers away without a method of the logger."""
    logging.root.handlers[:] = []
    logging.root.handlers = []


def change_form():
    """Change what is found at the root logger, as a loop over the handlers does."""
    for handler in logging.root.handlers:
        handler.setLevel("CRITICAL")
        handler.addFilter(lambda _record: False)
        handler.setStream(io.StringIO())
        handler.setFormatter(logging.Formatter("forged %(message)s"))


def close_handlers():
    """Close what is found at the root logger."""
    for handler in logging.root.handlers:
        handler.close()


ATTEMPTS = {
    "basicConfig": lambda: logging.basicConfig(
        level="CRITICAL", format="forged %(message)s", force=True
    ),
    "dictConfig": lambda: logging.config.dictConfig({"version": 1, "root": {"level": "ERROR"}}),
    "disable": lambda: logging.disable(logging.CRITICAL),
    "shutdown": logging.shutdown,
    "level": lambda: logging.getLogger().setLevel("CRITICAL"),
    "level attribute": lambda: setattr(logging.root, "level", logging.CRITICAL),
    "disabled": lambda: setattr(logging.root, "disabled", True),
    "added": lambda: logging.root.addHandler(logging.StreamHandler()),
    "filter": lambda: logging.root.addFilter(lambda _record: False),
    "filters": lambda: logging.root.filters.append(lambda _record: False),
    "cleared": clear_handlers,
    "form": change_form,
    "closed": close_handlers,
    "own level": lambda: logging.getLogger("mgr").setLevel("CRITICAL"),
    "own propagation": lambda: setattr(logging.getLogger("mgr"), "propagate", False),
}


@pytest.mark.parametrize("attempt", ATTEMPTS.values(), ids=ATTEMPTS)
def test_a_module_cannot_change_the_managers_log(root, capsys, attempt):
    """Whatever it calls: lines of loggers from before and after come once and in our form."""
    logs.set_up(level="info", form="text", manager="a", component="worker")
    before = logging.getLogger("mgr.before")
    logs.protect()
    try:
        attempt()
        before.info("line 1")
        logging.getLogger("mgr.after").info("line 2")
        logging.getLogger("library").error("line 3")
        logging.getLogger("mgr.before").debug("not written")
    finally:
        logs.release()

    seen = [line for line in lines(capsys) if "refused a change" not in line]
    assert [line.partition("INFO")[2] or line.partition("ERROR")[2] for line in seen] == [
        "    a/worker mgr.before: line 1",
        "    a/worker mgr.after: line 2",
        "   a/worker library: line 3",
    ]


def test_an_attempt_is_logged_once_with_its_place(root, capsys):
    """So that the author of the module finds it."""
    logs.set_up(level="info", form="text", manager="a", component="worker")
    logs.protect()
    try:
        for _ in range(3):
            logging.basicConfig(force=True)
    finally:
        logs.release()

    [line] = lines(capsys)
    assert "refused a change of the root logger" in line
    assert "test_logs.py:" in line


def test_the_log_may_be_set_up_again_after_it_was_protected(root, capsys):
    """And the second set-up is the one that holds."""
    logs.set_up(level="error", form="text", manager="a", component="worker")
    logs.protect()
    logs.set_up(level="info", form="text", manager="b", component="worker")

    logging.getLogger("mgr.x").info("seen")

    [line] = lines(capsys)
    assert line.endswith("b/worker mgr.x: seen")
    assert type(root) is logging.RootLogger

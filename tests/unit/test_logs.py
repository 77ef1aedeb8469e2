"""A constant sentence plus fields, for people or for collectors."""

from __future__ import annotations

import json
import logging

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

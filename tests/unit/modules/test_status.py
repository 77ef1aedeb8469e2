"""The status module: the map of managers as tables."""

import json

from modules.status.module import Module
from modules.status.table import table
from tests.support.context import command, run

MAP = {
    "active_name": "a",
    "active_addr": "10.0.0.1:7400/0",
    "available": True,
    "standbys": [{"name": "c"}, {"name": "b"}],
    "modules": ["hello"],
    "always_on_modules": {"tentacle": ["status"]},
    "available_modules": [
        {"name": "status", "can_run": True, "error_string": ""},
        {"name": "hello", "can_run": True, "error_string": ""},
        {"name": "broken", "can_run": False, "error_string": "no module named x"},
        {"name": "quiet", "can_run": True, "error_string": ""},
    ],
    "services": {"hello": "http://10.0.0.1:80/"},
}


def module_with(**changes):
    status, context = run(Module, "status")
    context.documents["mgr_map"] = {**MAP, **changes}
    context.fleet.add("mgr.b", addr="10.0.0.2:7400")
    return status


def test_managers_are_a_table():
    """The active one first; the others by name."""
    assert command(module_with(), "mgr status") == (
        0,
        (
            "NAME  STATE    ADDRESS\n"
            "a     active   10.0.0.1:7400\n"
            "b     standby  10.0.0.2:7400\n"
            "c     standby"
        ),
        "",
    )


def test_a_manager_that_only_just_leads_is_shown_as_starting():
    """Its modules are not there yet."""
    _, text, _ = command(module_with(available=False), "mgr status", format="json")

    assert json.loads(text)[0]["state"] == "active (starting)"


def test_without_an_active_only_the_others_are_shown():
    """A map may say so for a moment."""
    _, text, _ = command(module_with(active_name=""), "mgr status", format="json")

    assert [row["name"] for row in json.loads(text)] == ["b", "c"]


def test_modules_are_a_table():
    """By name: whether they run, their addresses and their errors."""
    _, text, _ = command(module_with(), "module status", format="json")

    rows = {row["module"]: row for row in json.loads(text)}
    assert list(rows) == ["broken", "hello", "quiet", "status"]
    assert {name: row["state"] for name, row in rows.items()} == {
        "broken": "cannot run",
        "hello": "enabled",
        "quiet": "disabled",
        "status": "always on",
    }
    assert rows["hello"]["uri"] == "http://10.0.0.1:80/"
    assert rows["broken"]["note"] == "no module named x"


def test_an_unknown_format_is_refused():
    """By name."""
    assert command(module_with(), "mgr status", format="xml")[2] == "Unsupported format: xml"


def test_a_table_without_rows_is_nothing():
    """Not even headings."""
    assert table([]) == ""

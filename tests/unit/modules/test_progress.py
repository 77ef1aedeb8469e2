"""The progress module: reports of others, for people and for programs."""

import json

import pytest

from modules.progress.event import Event, format_completed, format_running, from_document


@pytest.fixture
def progress(mgr_host):
    module = mgr_host.load("modules.progress")
    mgr_host.take_over_time()
    return module


def shown(host):
    return json.loads(host.run("progress json").stdout)


def test_what_is_reported_is_shown(mgr_host, progress):
    """In the manager's ``status`` as well."""
    progress.update("1", "Moving", 0.25, ["a"], add_to_ceph_s=True)
    mgr_host.clock.advance(30)
    progress.update("1", "Still moving", 0.5)

    (event,) = shown(mgr_host)["events"]
    assert event["message"] == "Still moving"
    assert (event["progress"], event["duration"], event["refs"]) == (0.5, 30, ["a"])
    assert mgr_host.progress["1"]["add_to_ceph_s"] is True
    assert mgr_host.run("progress").stdout == (
        f"Still moving (0:00:30)\n    [{'=' * 15}{'.' * 15}] (remaining: 0:00:30)"
    )


def test_what_is_over_survives_the_manager(mgr_host, progress):
    """What was under way does not: its module reports again."""
    for evid in "123":
        progress.update(evid, f"Event {evid}", 0.1)
    mgr_host.clock.advance(5)
    progress.complete("1")
    progress.fail("2", "no room")
    progress.complete("9")

    mgr_host.fail_over()

    found = shown(mgr_host)
    assert [(e["id"], e["failed"], e["progress"]) for e in found["completed"]] == [
        ("1", False, 1.0),
        ("2", True, 0.1),
    ]
    assert found["events"] == []
    assert mgr_host.run("progress").stdout == (
        "Completed:\n  [0:00:05] Event 2: no room\n  [0:00:05] Event 1"
    )


def test_events_that_went_to_the_manager_itself_are_shown_too(mgr_host, progress):
    """``update_progress_event`` of any module."""
    event = {"x": {"message": "Elsewhere", "progress": 0.5, "add_to_ceph_s": True}}
    mgr_host.answer("status", 0, json.dumps({"progress_events": event}))

    assert [each["id"] for each in shown(mgr_host)["events"]] == ["x"]


@pytest.mark.parametrize(("keep", "left"), [(0, []), (2, ["1", "2"]), (5, ["0", "1", "2"])])
def test_only_so_many_are_remembered(mgr_host, progress, keep, left):
    """An option says how many."""
    mgr_host.set_option("max_completed_events", keep)
    for evid in "012":
        progress.update(evid, evid, 0.1)
        progress.complete(evid)

    assert [event["id"] for event in shown(mgr_host)["completed"]] == left


def test_it_can_be_switched_off_and_cleared(mgr_host, progress):
    """Off: nothing is taken. Cleared: nothing is left, in ``status`` neither."""
    progress.update("1", "One", 0.1)
    assert mgr_host.run("progress off").retval == 0
    progress.update("2", "Two", 0.1)
    assert (shown(mgr_host)["events"], mgr_host.progress) == ([], {})

    mgr_host.run("progress on")
    progress.update("3", "Three", 0.1)
    progress.complete("3")
    progress.update("4", "Four", 0.1)
    mgr_host.run("progress clear")
    assert shown(mgr_host) == {"events": [], "completed": []}
    assert (mgr_host.store, mgr_host.progress) == ({}, {})
    assert mgr_host.run("progress").stdout == "Nothing in progress"


def test_a_damaged_entry_is_survived(mgr_host, progress):
    """Somebody was at it by hand."""
    mgr_host.store["completed"] = '{"events": [7]}'
    mgr_host.fail_over()

    assert shown(mgr_host)["completed"] == []


def test_an_event_reads_back_as_it_was():
    """From what is stored."""
    event = Event("1", "m", 10.0, 0.5, ("a", "b")).with_end(12.0, "why")

    assert from_document(event.as_document(0)) == event
    assert format_completed(event) == "[0:00:02] m: why"
    assert format_running(Event("1", "m", 10.0), 12.0)[1].endswith("]")

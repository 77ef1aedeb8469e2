"""The crash module: reports posted, listed, told of, archived and forgotten."""

import datetime as dt
import json

import pytest

from modules.crash import report

DAY_S = 24 * 60 * 60


@pytest.fixture
def crash(mgr_host):
    module = mgr_host.load("modules.crash")
    mgr_host.take_over_time()
    return module


def one(host, name="1", *, days_ago=0.0, **more):
    """A report of something that happened so long ago."""
    at = host.clock.wall() - dt.timedelta(days=days_ago)
    return {
        "crash_id": name,
        "timestamp": at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "entity_name": "osd.3",
        "utsname_hostname": "h",
        **more,
    }


def post(host, name="1", **more):
    answer = host.run("crash post", inbuf=json.dumps(one(host, name, **more)))
    assert answer.retval == 0, answer


def listed(host, words="crash ls"):
    return [each["crash_id"] for each in json.loads(host.run(f"{words} --format json").stdout)]


def test_what_is_posted_is_listed_and_shown(mgr_host, crash):
    """Oldest first, a star for those that nobody archived; twice posted is once kept."""
    post(mgr_host, "late")
    post(mgr_host, "early", days_ago=1)
    post(mgr_host, "early", days_ago=1)

    assert listed(mgr_host) == ["early", "late"]
    assert mgr_host.run("crash ls").stdout == (
        "ID     ENTITY  NEW\nearly  osd.3   *\nlate   osd.3   *"
    )
    shown = json.loads(mgr_host.run("crash info early").stdout)
    assert shown["entity_name"] == "osd.3"
    assert mgr_host.run("crash info never").retval == -22
    assert set(mgr_host.store) == {"crash/early", "crash/late"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "words",
        "[]",
        "{}",
        '{"crash_id": "a", "timestamp": "soon"}',
        '{"crash_id": 1}',
        '{"crash_id": "a", "timestamp": "0001-01-01T00:00:00+23:59"}',
        '{"a":' * 10_000 + "1" + "}" * 10_000,
        '{"crash_id": "a", "timestamp": "2026-01-01", "x": "' + "x" * report.TEXT_CHARS_MAX + '"}',
    ],
)
def test_what_is_no_report_is_refused(mgr_host, crash, text):
    """With what is wrong."""
    assert mgr_host.run("crash post", inbuf=text).retval == -22
    assert mgr_host.store == {}


@pytest.mark.parametrize("how", ["watchdog", "SIGSEGV"])
def test_health_names_the_module_that_a_worker_was_killed_with_and_how(mgr_host, crash, how):
    """The watchdog's kills among them: the guard stores the report, the active posts it."""
    post(mgr_host, "1", mgr_module="hello", entity_name="mgr.a", mgr_signal=how)

    [line] = mgr_host.health["RECENT_MGR_MODULE_CRASH"]["detail"]
    assert "hello" in line
    assert f"({how})" in line


def test_a_recent_crash_is_a_warning_until_it_is_archived(mgr_host, crash):
    """Daemons and modules apart."""
    post(mgr_host, "1")
    post(mgr_host, "2", mgr_module="hello", entity_name="mgr.a")
    at = mgr_host.clock.wall().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    assert mgr_host.health == {
        "RECENT_CRASH": {
            "severity": "warning",
            "summary": "1 daemons have recently crashed",
            "count": 1,
            "detail": [f"osd.3 crashed on host h at {at}"],
        },
        "RECENT_MGR_MODULE_CRASH": {
            "severity": "warning",
            "summary": "1 mgr modules have recently crashed",
            "count": 1,
            "detail": [f"mgr module hello crashed in daemon mgr.a on host h at {at}"],
        },
    }

    assert mgr_host.run("crash archive 1").retval == 0
    assert set(mgr_host.health) == {"RECENT_MGR_MODULE_CRASH"}
    assert listed(mgr_host, "crash ls-new") == ["2"]
    mgr_host.run("crash archive-all")
    assert mgr_host.health == {}
    assert listed(mgr_host) == ["1", "2"]
    assert mgr_host.run("crash archive 9").retval == -2


def test_an_old_crash_is_no_warning(mgr_host, crash):
    """An option says how old."""
    post(mgr_host, days_ago=13)
    assert "RECENT_CRASH" in mgr_host.health

    mgr_host.set_option("warn_recent_interval", 12 * DAY_S)

    assert mgr_host.health == {}


def test_a_warning_survives_the_manager_and_ends_in_time(mgr_host, crash):
    """``serve`` looks at once, and prunes what is too old."""
    post(mgr_host, "new", days_ago=1)
    post(mgr_host, "old", days_ago=400)

    successor = mgr_host.fail_over()
    mgr_host.take_over_time()
    with mgr_host.serving(successor):
        mgr_host.wait_until(lambda: mgr_host.health)

    assert listed(mgr_host) == ["new"]
    assert mgr_host.health["RECENT_CRASH"]["count"] == 1


def test_details_are_bounded(mgr_host, crash):
    """Thirty lines, and how many more there are."""
    for number in range(32):
        post(mgr_host, str(number))

    check = mgr_host.health["RECENT_CRASH"]
    assert (check["count"], len(check["detail"])) == (32, 31)
    assert check["detail"][-1] == "and 2 more"


def test_reports_are_removed_by_name_and_by_age(mgr_host, crash):
    """An absent one is no error."""
    post(mgr_host, "1")
    post(mgr_host, "2", days_ago=8)
    assert mgr_host.run("crash rm 9").retval == 0

    mgr_host.run("crash prune 7")
    assert listed(mgr_host) == ["1"]
    mgr_host.run("crash rm 1")
    assert (listed(mgr_host), mgr_host.health) == ([], {})


def test_crashes_are_counted_by_age(mgr_host, crash):
    """And those of the last hours reported to programs, other modules among them."""
    post(mgr_host, "a", days_ago=2)
    post(mgr_host, "b")

    assert mgr_host.run("crash stat").stdout == "2 crashes recorded\n1 older than 1 days old:\na"
    assert json.loads(mgr_host.run("crash json_report 24").stdout) == {"unknown": 1}
    # What Ceph's insights does with it.
    _, _, received = crash.do_json_report(72)
    assert json.loads(received) == {"unknown": 2}
    assert len(json.loads(crash.ls().stdout)) == 2


def test_a_damaged_entry_is_passed_over(mgr_host, crash):
    """Somebody was at it by hand."""
    post(mgr_host, "1")
    mgr_host.store["crash/2"] = "words"

    assert listed(mgr_host) == ["1"]


def test_the_same_fault_has_the_same_signature():
    """Lines and addresses move from build to build."""
    here = ['File "/a/module.py", line 10, in serve', " 1: (main()+0x12) [0xabc]"]
    there = ['File "/a/module.py", line 99, in serve', " 1: (main()+0x99) [0xdef]"]

    assert report.signature({"backtrace": here}) == report.signature({"backtrace": there})
    assert report.signature({"backtrace": here}) != report.signature({"backtrace": here[:1]})


@pytest.mark.parametrize(
    "text",
    ["2026-01-02T03:04:05.678901Z", "2026-01-02 03:04:05.678901Z", "2026-01-02T03:04:05.678901"],
)
def test_every_form_of_time_is_read(text):
    """Ceph's releases differ."""
    moment = dt.datetime(2026, 1, 2, 3, 4, 5, 678901, dt.UTC)

    assert report.at({"timestamp": text}) == moment


def test_the_reports_of_whoever_posts_many_make_room_for_others(mgr_host, crash, monkeypatch):
    """Archived ones first; the report of another entity is not lost."""
    monkeypatch.setattr("modules.crash.module.REPORTS_MAX", 4)
    post(mgr_host, "quiet", entity_name="osd.1", days_ago=9)
    for number in range(3):
        post(mgr_host, f"noisy{number}", entity_name="osd.2", days_ago=5 - number)
    post(mgr_host, "new", entity_name="osd.3")
    assert listed(mgr_host) == ["quiet", "noisy1", "noisy2", "new"]

    assert mgr_host.run("crash archive quiet").retval == 0
    post(mgr_host, "newer", entity_name="osd.3")

    assert listed(mgr_host) == ["noisy1", "noisy2", "new", "newer"]


def test_what_a_report_says_cannot_forge_a_line(mgr_host, crash):
    """Of the list, or of health; the backtrace has lines of its own."""
    post(mgr_host, "evil", entity_name="a\x1b[2J\nosd.9 crashed", backtrace=["one\n two"])

    for text in (mgr_host.run("crash ls").stdout, json.dumps(mgr_host.health)):
        assert "\x1b" not in text
        assert "\nosd.9" not in text
    assert json.loads(mgr_host.run("crash info evil").stdout)["backtrace"] == ["one\n two"]

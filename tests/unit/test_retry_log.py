"""A lasting failure is logged ever more seldom, and its end once."""

from __future__ import annotations

import logging

import pytest

from mgr.retry_log import FIRST_LOG_S, RetryLog

log = logging.getLogger("test")


def test_logged_after_five_seconds_then_after_twice_as_long(caplog: pytest.LogCaptureFixture):
    """At 5, 10, 20, ... seconds, and at most every 600."""
    retry_log = RetryLog(log, 100.0, daemon="web.a")
    logged_at = []
    for second in range(3000):
        before = len(caplog.records)
        retry_log.failing(100.0 + second, "fails: %s", "why")
        logged_at += [second] * (len(caplog.records) - before)
    assert logged_at == [5, 10, 20, 40, 80, 160, 320, 640, 1240, 1840, 2440]
    assert caplog.records[0].getMessage() == "fails: why"
    assert vars(caplog.records[0])["daemon"] == "web.a"
    assert vars(caplog.records[0])["for_s"] == round(FIRST_LOG_S)


def test_a_failure_of_a_new_kind_is_logged_at_once(caplog: pytest.LogCaptureFixture):
    """Whoever waits for one cause to pass must see that it is another one now."""
    retry_log = RetryLog(log, 0.0)
    for kind in ("timeout", "timeout", "denied"):
        retry_log.failing(0.1, "fails", kind=kind)
    assert len(caplog.records) == 2


def test_the_end_is_logged_only_after_a_failure_was(caplog: pytest.LogCaptureFixture):
    """A failure too short to be logged has no end in the log either."""
    caplog.set_level(logging.INFO)
    retry_log = RetryLog(log, 0.0)
    retry_log.failing(1.0, "fails")
    retry_log.recovered(2.0, "works")
    assert not caplog.records
    retry_log.failing(6.0, "fails")
    retry_log.recovered(7.0, "works", level=logging.INFO)
    assert caplog.records[-1].levelname == "INFO"
    assert vars(caplog.records[-1])["after_s"] == 7

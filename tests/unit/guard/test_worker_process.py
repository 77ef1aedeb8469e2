"""How a worker ended, in words."""

from __future__ import annotations

import signal

import pytest

from mgr.guard.worker_process import exit_status_text


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (0, "exit status 0"),
        (3, "exit status 3"),
        (-signal.SIGKILL, "SIGKILL"),
        (-signal.SIGSEGV, "SIGSEGV"),
        (-77, "signal 77"),
    ],
)
def test_an_exit_status_is_described_by_name(status, words):
    """A number alone sends people to a manual."""
    assert exit_status_text(status) == words

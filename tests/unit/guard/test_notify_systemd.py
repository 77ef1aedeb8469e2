"""Systemd is told, if it asked."""

from __future__ import annotations

import socket

import pytest

from mgr.guard.notify_systemd import Notifier


@pytest.fixture
def systemd(tmp_path):
    """What listens where systemd would."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(2)
        yield listener


def test_states_arrive_a_line_each(systemd):
    """As ``sd_notify`` sends them."""
    Notifier({"NOTIFY_SOCKET": systemd.getsockname()}).notify("READY=1", "STATUS=standby")

    assert systemd.recv(100) == b"READY=1\nSTATUS=standby"


def test_an_abstract_address_is_understood():
    """Systemd writes its leading NUL as an at sign."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0mgr-test-notify")
        listener.settimeout(2)

        Notifier({"NOTIFY_SOCKET": "@mgr-test-notify"}).notify("STOPPING=1")

        assert listener.recv(100) == b"STOPPING=1"


def test_without_systemd_nothing_is_said():
    """Nor when its socket is gone: that is no reason to fail."""
    Notifier({}).notify("READY=1")
    Notifier({"NOTIFY_SOCKET": "/nowhere/notify"}).notify("READY=1")


def test_a_sign_of_life_comes_twice_in_the_limit():
    """None is wanted unless systemd says so."""
    assert Notifier({"WATCHDOG_USEC": "3000000"}).watchdog_every_s == 1.5
    assert Notifier({}).watchdog_every_s is None

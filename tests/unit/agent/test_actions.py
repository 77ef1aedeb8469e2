"""What may be done to a host's units, and how long it may take."""

from __future__ import annotations

import errno
import os

import pytest

from mgr.agent.actions import LIMIT_S, LIMIT_S_MAX, Actions
from mgr.agent.settings import AgentSettings, Watch
from mgr.cli.command_line import TIMEOUT_S
from mgr.client.daemon.program import Program
from mgr.command.builtin.daemon import TELL_TIMEOUT_S
from mgr.rpc.v1.command_pb2 import ExecuteRequest


@pytest.fixture
def host(tmp_path, monkeypatch):
    """A host whose systemctl and journalctl print their arguments, then take their time."""
    for name, rest in (
        ("systemctl", 'case "$*" in *slow*) exec sleep 60;; esac'),
        ("journalctl", ""),
    ):
        (tmp_path / name).write_text(f'#!/bin/sh\necho {name} "$@"\n{rest}\n')
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    allow = ("status", "restart", "log")
    units = tuple(Watch(unit=unit, allow=allow) for unit in ("a.service", "slow.service"))
    program = Program("host", "h", host="h", version="", metadata=None, on_replaced=None)
    Actions(AgentSettings(watch=units), program)
    return program


async def answered(host, *words):
    return await host.handlers.answer(ExecuteRequest(words=words), timeout_s=30)


async def test_what_takes_too_long_is_answered_before_the_one_who_asked_has_gone(host, monkeypatch):
    """Ten seconds are what mgrctl waits by itself, thirty what a manager waits at most."""
    assert LIMIT_S + 1 < TIMEOUT_S
    assert LIMIT_S_MAX + 1 < TELL_TIMEOUT_S
    monkeypatch.setattr("mgr.agent.actions.LIMIT_S", 0.2)

    answer = await answered(host, "unit", "restart", "slow.service")

    assert answer.retval == -errno.ETIMEDOUT
    assert answer.stderr == ("systemctl did not end within 0.2 s and was killed: raise --limit")


async def test_more_time_may_be_asked_for(host, monkeypatch):
    """By each command that runs a program, up to what a manager waits."""
    monkeypatch.setattr("mgr.agent.actions.LIMIT_S", 60)

    slow = await answered(host, "unit", "restart", "slow.service", "--limit=1")
    status = await answered(host, "unit", "status", "a.service", "--limit", "20")
    log = await answered(host, "log", "a.service", "--limit", "20", "--lines", "5")
    beyond = await answered(host, "unit", "restart", "a.service", "--limit", "30")

    assert "did not end within 1 s" in slow.stderr
    assert status.stdout == b"systemctl --no-pager --lines=0 status a.service\n"
    assert log.stdout == b"journalctl --no-pager --lines=5 --quiet --unit a.service\n"
    assert beyond.retval == -errno.EINVAL

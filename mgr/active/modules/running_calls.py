"""Describes the commands that modules run, as ``command ls`` and health show them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mgr.command.running import RUNNING, WAITING, RunningCommand, client_text
from mgr.host.command_calls import CommandCall


def running_calls(calls: Iterable[CommandCall], now_s: float) -> Iterator[RunningCommand]:
    """Yield each of ``calls`` as a command that runs, or waits for its module's thread."""
    for call in calls:
        yield RunningCommand(
            prefix=call.prefix,
            module=call.module,
            thread=call.thread,
            client=client_text(call.caller),
            since=call.since(now_s),
            age_s=now_s - call.given_s,
            state=WAITING if call.begun_s is None else RUNNING,
        )

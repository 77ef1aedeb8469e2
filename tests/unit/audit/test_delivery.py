"""Records reach the sinks, and a change waits for those that are required."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from mgr.audit.delivery import Delivery
from mgr.errors import AuditUnavailableError
from mgr.host.bridge import run_in_thread

TIMEOUT_S = 0.3


class Sink:
    """Keeps lines in a list; fails or hangs as a test says."""

    def __init__(self, name="file"):
        self.name = name
        self.lines = []
        self.error = None
        self.hang = None

    def write(self, lines):
        if self.error:
            raise self.error
        self.lines += lines


def in_loop(_name, call):
    """Run it at once: only a test that is about threads needs one."""
    ended = asyncio.get_running_loop().create_future()
    try:
        ended.set_result(call())
    except OSError as error:
        ended.set_exception(error)
    return ended


@contextlib.asynccontextmanager
async def delivery(*sinks, required=(), run=in_loop):
    made = Delivery(sinks, run, required=required, timeout_s=TIMEOUT_S)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(made.run())
        yield made
        running.cancel()


async def until(state):
    """Wait until ``state`` holds."""
    async with asyncio.timeout(5):
        while not state():  # noqa: ASYNC110 - threads are at work: there is no one event
            await asyncio.sleep(0.01)


async def test_a_required_sink_has_the_record_when_deliver_returns():
    """On a real thread; the other sink gets it as well."""
    file, syslog = Sink(), Sink("syslog")
    async with delivery(file, syslog, required=["file"], run=run_in_thread) as made:
        await made.deliver("one")

        assert file.lines == ["one"]
        await until(lambda: syslog.lines == ["one"])


async def test_a_required_sink_that_fails_refuses_and_recovers(monkeypatch):
    """Nothing begins meanwhile, and what it did not keep reaches it afterwards."""
    monkeypatch.setattr("mgr.audit.delivery.RETRY_S", 0.01)
    file, heard = Sink(), []
    file.error = OSError(28, "No space left on device")
    async with delivery(file, required=["file"]) as made:
        made.subscribe(lambda: heard.append(made.trouble))
        with pytest.raises(AuditUnavailableError, match=r"'file' does not keep .* No space left"):
            await made.deliver("one")
        with pytest.raises(AuditUnavailableError, match="nothing can be changed now"):
            made.check()

        file.error = None
        await until(lambda: not made.trouble)

        made.check()
        assert file.lines == ["one"]
        assert [bool(trouble) for trouble in heard] == [True, False]


async def test_a_required_sink_that_hangs_counts_as_failed_in_time():
    """A dead NFS server blocks the thread for ever, not the manager."""
    file = Sink()

    def hangs(_name, _call):
        return asyncio.get_running_loop().create_future()

    async with delivery(file, required=["file"], run=hangs) as made:
        with pytest.raises(AuditUnavailableError, match="takes longer than"):
            await made.deliver("one")
        with pytest.raises(AuditUnavailableError):
            made.check()


async def test_a_sink_that_is_not_required_holds_nothing_up():
    """It is named in health, and that is all."""
    file = Sink()
    file.error = OSError(5, "Input/output error")
    async with delivery(file) as made:
        await made.deliver("one")
        await until(lambda: made.troubles == {"file": "Input/output error"})

        made.check()
        assert made.trouble == ""
